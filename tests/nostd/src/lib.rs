//! The core in a static library without the standard library: its own allocator, its own panic handler, and two nodes
//! that talk through memory.
//!
//! `tests/tests/no_std.rs` links it to a program, runs that, and looks at what the program asks of the system.
#![no_std]

extern crate alloc;

mod bump;
mod world;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // Without a system there is nobody to tell; the test sees that the program does not end.
    loop {
        core::hint::spin_loop();
    }
}

/// What the precompiled `core` and `alloc` name for unwinding; with `panic = "abort"` nothing calls it.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}

/// As [`rust_eh_personality`].
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// The program: 0 if a client joined a room by a service node, otherwise the number of what did not happen.
#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    match world::run() {
        Ok(()) => 0,
        Err(failure) => failure as i32,
    }
}
