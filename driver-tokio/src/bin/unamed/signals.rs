//! Signals: the first one asks for an end in good order, the second one ends at once.

use crate::Failure;

/// The signals that end the program.
pub(crate) struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Takes the signals over from their default actions.
    #[cfg(unix)]
    pub(crate) fn new() -> Result<Self, Failure> {
        use tokio::signal::unix::SignalKind;
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    /// Takes the signals over from their default actions.
    #[cfg(not(unix))]
    pub(crate) fn new() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Waits for a signal.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Waits for a signal.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }

    /// From here on a signal ends the program at once.
    pub(crate) fn exit_on_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            std::process::exit(1);
        });
    }
}

#[cfg(unix)]
fn listen(kind: tokio::signal::unix::SignalKind) -> Result<tokio::signal::unix::Signal, Failure> {
    let failed = |error| Failure::other(format!("signals are not available: {error}"));
    tokio::signal::unix::signal(kind).map_err(failed)
}

/// A signal that does not end the program.
pub(crate) struct Noted {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

impl Noted {
    /// The signal that asks how the node is: SIGUSR1. Taken over from its default action, as the next.
    #[cfg(unix)]
    pub(crate) fn asked() -> Result<Self, Failure> {
        Ok(Self { signal: listen(tokio::signal::unix::SignalKind::user_defined1())? })
    }

    /// The signal to read files again: SIGHUP.
    #[cfg(unix)]
    pub(crate) fn reload() -> Result<Self, Failure> {
        Ok(Self { signal: listen(tokio::signal::unix::SignalKind::hangup())? })
    }

    /// There is no such signal on this system.
    #[cfg(not(unix))]
    pub(crate) fn asked() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// There is no such signal on this system.
    #[cfg(not(unix))]
    pub(crate) fn reload() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Waits for the signal.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending().await
        }
    }

    /// Waits for ever.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        std::future::pending().await
    }
}
