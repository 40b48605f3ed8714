//! Where memory comes from: the system's allocator, of which large blocks ask for large pages.
//!
//! The tables of many series are read at random. With pages of 4 KiB most of those reads wait for their address to be
//! translated, the more so in a virtual machine, where each step of a translation is translated itself.

#![expect(unsafe_code, reason = "an allocator, and advice to the kernel")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;

/// The size of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// The least size of a block that gets large pages of its own. What of the last one is left over is lost.
const LARGE_BLOCK: usize = LARGE_PAGE / 2;

/// The system's allocator, with large pages for large blocks.
pub struct LargePages;

// SAFETY: a block has the layout that was asked for, or that of `large` for it, which has at least its size and alignment.
// Which of the two depends on the layout alone, so it is freed with the layout that it was allocated with.
unsafe impl GlobalAlloc for LargePages {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match large(layout) {
            // SAFETY: neither layout is of size 0, since the caller's is not.
            Some(large) => advised(unsafe { System.alloc(large) }, large.size()),
            None => unsafe { System.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match large(layout) {
            // SAFETY: as above.
            Some(large) => advised(unsafe { System.alloc_zeroed(large) }, large.size()),
            None => unsafe { System.alloc_zeroed(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from the system's allocator with this layout.
        unsafe { System.dealloc(block, large(layout).unwrap_or(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size, rounded up to the alignment, does not overflow.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        match (large(layout), large(new_layout)) {
            // SAFETY: the block came from the system's allocator with this layout, and the new size is not 0.
            (None, None) => unsafe { System.realloc(block, layout, new_size) },
            (Some(old), Some(new)) if old == new => block,
            _ => {
                // SAFETY: the layout is not of size 0, as the new size is not; both blocks hold what is copied, and are
                // different ones; the old one came from this allocator with its layout, and is not used afterwards.
                unsafe {
                    let new_block = self.alloc(new_layout);
                    if !new_block.is_null() {
                        ptr::copy_nonoverlapping(block, new_block, layout.size().min(new_size));
                        self.dealloc(block, layout);
                    }
                    new_block
                }
            }
        }
    }
}

/// Whole large pages in place of a layout that is large enough for them.
#[inline]
fn large(layout: Layout) -> Option<Layout> {
    if layout.size() < LARGE_BLOCK {
        return None;
    }
    let size = layout.size().checked_next_multiple_of(LARGE_PAGE)?;
    Layout::from_size_align(size, layout.align().max(LARGE_PAGE)).ok()
}

/// The block, after the kernel was asked to use large pages for it. It may refuse, as one without large pages does.
#[cold]
fn advised(block: *mut u8, size: usize) -> *mut u8 {
    if !block.is_null() {
        // SAFETY: the range is a block of the caller's, and the advice leaves its contents alone.
        let _ = unsafe { libc::madvise(block.cast(), size, libc::MADV_HUGEPAGE) };
    }
    block
}

#[cfg(test)]
mod tests {
    // The test's own allocator is this one, since it is the program's.

    #[test]
    fn blocks_keep_their_contents_while_they_grow_and_shrink_over_the_size_of_a_large_page() {
        let mut block: Vec<u32> = Vec::new();
        for size in [1_usize, 1000, 300_000, 900_000, 1_500_000, 400_000, 200_000, 3, 600_000] {
            block.truncate(size);
            block.shrink_to_fit();
            block.extend(u32::try_from(block.len()).unwrap()..u32::try_from(size).unwrap());
            assert!((0..).zip(&block).all(|(number, kept)| number == *kept), "{size}");
            assert_eq!(block.len(), size);
        }
        assert!(vec![0_u8; 5 << 20].iter().all(|byte| *byte == 0));
        let large = vec![1_u8; super::LARGE_BLOCK];
        assert!(large.as_ptr().addr().is_multiple_of(super::LARGE_PAGE));
    }
}
