//! Broadcast between two members over loopback, next to a bare tokio-tungstenite connection.
//!
//! `cargo bench -p unamed-tokio --bench loopback [-- FILTER] [--alone]`. Both sides run in one process on one runtime with two
//! worker threads, in turn, round by round, so that what else the machine does meanwhile meets both alike. Of each
//! figure the median round counts, and as ratio the median of the rounds' ratios. CPU time is that of the whole process,
//! both ends, kernel included. `--alone` leaves out the bare side, for a profiler.

use std::time::Duration;

mod bare;
mod rooms;
mod table;

use table::{Figure, Side};

/// Payload of the large messages, bytes.
const LARGE: usize = 64 * 1024;
/// Payload of the small messages, bytes.
const SMALL: usize = 100;
/// Rounds of each figure.
const ROUNDS: usize = 9;
/// Messages under way at a time where they are pipelined.
const WINDOW: usize = 64;

/// From one end to the other, or there and back.
#[derive(Clone, Copy, Debug)]
enum Pattern {
    /// The client sends, the server counts.
    Stream,
    /// The client sends the next message once the last one came back.
    PingPong,
    /// The client sends up to [`WINDOW`] messages ahead of those that came back.
    Echo,
}

fn figures() -> Vec<Figure> {
    let figure = |name, unit, pattern, payload, count| Figure { name, unit, pattern, payload, count };
    use table::Unit::{Megabytes, Messages, RoundTrips};
    vec![
        figure("64 KiB stream", Megabytes, Pattern::Stream, LARGE, 1500),
        figure("64 KiB echo", Megabytes, Pattern::Echo, LARGE, 600),
        figure("100 B ping-pong", RoundTrips, Pattern::PingPong, SMALL, 4000),
        figure("100 B stream", Messages, Pattern::Stream, SMALL, 40_000),
        figure("100 B echo", Messages, Pattern::Echo, SMALL, 20_000),
    ]
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // `cargo test --benches` runs this as a test: one short round shows that it works.
    let short = !args.iter().any(|arg| arg == "--bench");
    let alone = args.iter().any(|arg| arg == "--alone");
    let filter = args.iter().find(|arg| !arg.starts_with('-')).cloned().unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        // Spawned, so that no end runs on the main thread, whose wake-ups cost more.
        let run = tokio::spawn(run(filter, short, alone));
        run.await.expect("the benchmark ends");
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
}

async fn run(filter: String, short: bool, alone: bool) {
    let rounds = if short { 1 } else { ROUNDS };
    table::head();
    for mut figure in figures().into_iter().filter(|figure| figure.name.contains(&filter)) {
        if short {
            figure.count /= 50;
        }
        let mut bare = bare::Bare::start().await;
        let mut rooms = rooms::Rooms::start().await;
        let (mut ours, mut theirs) = (Side::default(), Side::default());
        // A round that does not count warms both sides up.
        bare.run(figure.pattern, figure.payload, figure.count / 10).await;
        rooms.run(figure.pattern, figure.payload, figure.count / 10).await;
        for _ in 0..rounds {
            if !alone {
                theirs.time(bare.run(figure.pattern, figure.payload, figure.count)).await;
            }
            ours.time(rooms.run(figure.pattern, figure.payload, figure.count)).await;
        }
        table::row(&figure, &ours, &theirs);
        bare.stop().await;
        rooms.stop().await;
    }
    table::foot();
}
