//! Telling the processor what will be read soon.
//!
//! A load that misses the caches holds up what comes after it; a prefetch does not. So the memory of many series can be
//! on its way at the same time.

#![expect(unsafe_code, reason = "no safe function asks for a prefetch")]

/// Asks for the element at `index` to be brought into the nearest cache, if there is one there.
#[inline(always)]
pub(crate) fn element<T>(slice: &[T], index: usize) {
    address(slice.as_ptr().wrapping_add(index));
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn address<T>(address: *const T) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads nothing that the program can see, and does not fault, whatever the address.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn address<T>(address: *const T) {
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, preserves_flags, readonly));
    };
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
fn address<T>(_: *const T) {}
