//! Quick crypto and real crypto take the same decisions.

use std::time::Duration;

use unamed_simulator::scenario::CryptoKind;
use unamed_simulator::{RunOptions, Scenario};

#[test]
fn decisions_do_not_depend_on_the_crypto_provider() {
    let [quick, real] = [CryptoKind::Ideal, CryptoKind::Real].map(|crypto| {
        let mut scenario = Scenario { crypto, ..Scenario::new(3, 6, 3, 4) };
        scenario.duration = Duration::from_secs(120);
        scenario.workload.finds_per_s = 2.0;
        scenario.run(RunOptions::default(), |_| {}).report
    });
    assert_eq!(quick.decision_hash, real.decision_hash);
    assert_eq!(quick.events, real.events);
    assert_ne!(quick.trace_hash, real.trace_hash);
    assert!(real.messages.delivered > 0 && real.finds.succeeded > 0, "{real}");
}
