//! An allocator over one static array that never takes memory back.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicUsize, Ordering};

const HEAP_BYTES: usize = 256 * 1024 * 1024;

struct Bump {
    heap: UnsafeCell<[u8; HEAP_BYTES]>,
    used: AtomicUsize,
}

#[global_allocator]
static BUMP: Bump = Bump { heap: UnsafeCell::new([0; HEAP_BYTES]), used: AtomicUsize::new(0) };

// SAFETY: each byte of `heap` is handed out at most once, by the atomic counter.
unsafe impl Sync for Bump {}

// SAFETY: a block starts at the asked alignment, has the asked size, lies inside `heap`, and overlaps no other.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.heap.get() as usize;
        let place = |used: usize| {
            let start =
                base.checked_add(used)?.checked_next_multiple_of(layout.align())?.checked_sub(base)?;
            let end = start.checked_add(layout.size())?;
            (end <= HEAP_BYTES).then_some((start, end))
        };
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(place(used)?.1));
        match taken.ok().and_then(place) {
            // SAFETY: `place` keeps `start` inside `heap`.
            Some((start, _)) => unsafe { self.heap.get().cast::<u8>().add(start) },
            None => null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
