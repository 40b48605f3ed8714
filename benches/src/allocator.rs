//! The system's allocator, with a count of what is allocated.
//!
//! Counting is a load and a store, no locked operation, so that what is timed is not slowed by it. It is therefore exact
//! only while one thread allocates, which is how the measurements of memory run.

#![expect(
    unsafe_code,
    reason = "a global allocator is an unsafe trait; malloc_usable_size tells what malloc really took"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What malloc keeps beside a block.
const HEADER: usize = size_of::<usize>();

/// Counts and passes on.
pub struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Bytes that are allocated, with what malloc adds: rounding and headers.
pub fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// The most that was live since [`reset_peak`].
pub fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

/// Begins anew with what is live.
pub fn reset_peak() {
    PEAK.store(live(), Ordering::Relaxed);
}

/// What a block takes.
///
/// # Safety
/// The pointer came from this allocator and is not freed.
unsafe fn taken(pointer: *mut u8) -> usize {
    // SAFETY: the caller's promise; System allocates with malloc.
    unsafe { libc::malloc_usable_size(pointer.cast()) + HEADER }
}

fn add(bytes: usize) {
    let live = LIVE.load(Ordering::Relaxed).wrapping_add(bytes);
    LIVE.store(live, Ordering::Relaxed);
    if live > PEAK.load(Ordering::Relaxed) {
        PEAK.store(live, Ordering::Relaxed);
    }
}

fn subtract(bytes: usize) {
    LIVE.store(LIVE.load(Ordering::Relaxed).wrapping_sub(bytes), Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let pointer = unsafe { System.alloc(layout) };
        if !pointer.is_null() {
            // SAFETY: it was allocated just now.
            add(unsafe { taken(pointer) });
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let pointer = unsafe { System.alloc_zeroed(layout) };
        if !pointer.is_null() {
            // SAFETY: it was allocated just now.
            add(unsafe { taken(pointer) });
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise; it is read before it is freed.
        unsafe {
            subtract(taken(pointer));
            System.dealloc(pointer, layout);
        }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller's promise; the old block is read before it is gone.
        unsafe {
            let before = taken(pointer);
            let moved = System.realloc(pointer, layout, new_size);
            if !moved.is_null() {
                subtract(before);
                add(taken(moved));
            }
            moved
        }
    }
}
