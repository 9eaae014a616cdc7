//! Quick crypto and real crypto take the same decisions.

use std::sync::Arc;
use std::time::Duration;

use unamed_protocol::crypto::{Crypto, RealCrypto};
use unamed_simulator::{BookkeepingCrypto, Workload};

#[test]
fn decisions_do_not_depend_on_the_crypto_provider() {
    let providers: [Arc<dyn Crypto>; 2] = [Arc::new(BookkeepingCrypto::new()), Arc::new(RealCrypto)];
    let [quick, real] = providers.map(|crypto| {
        let mut workload = Workload::new(3, 6, 3, 4, crypto);
        workload.duration = Duration::from_secs(120);
        workload.finds_per_second = 2.0;
        workload.run(|_| {}, |_| {}).report
    });
    assert_eq!(quick.decision_hash, real.decision_hash);
    assert_eq!(quick.events, real.events);
    assert_ne!(quick.trace_hash, real.trace_hash);
    assert!(real.messages.delivered > 0 && real.finds.succeeded > 0, "{real}");
}
