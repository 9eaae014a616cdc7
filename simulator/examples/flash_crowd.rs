//! A scenario written in Rust and swept over a setting: how long members wait for each other when a crowd arrives, by the
//! number of links in a k-bucket.
//!
//! `cargo run --release --package unamed-simulator --example flash_crowd`

use std::time::Duration;

use unamed_simulator::scenario::{Bound, Bounds, Fault, FaultKind};
use unamed_simulator::{ChurnModel, RunOptions, Scenario, ScenarioError};

fn main() -> Result<(), ScenarioError> {
    println!("links  succeeded  hops  find ms  split s p99  overlay links  kept its promise");
    for bucket_links in 1..=3 {
        let mut scenario = Scenario::new(40, 80, 20, 7);
        scenario.duration = Duration::from_secs(180);
        scenario.churn.clients = ChurnModel::Exponential(10.0);
        scenario.protocol.bucket_links = Some(bucket_links);
        let crowd = Fault::new(FaultKind::FlashCrowd, Duration::from_secs(90), Duration::from_secs(10));
        scenario.faults.push(Fault { times: 1.0, recover: Some(Duration::from_secs(30)), ..crowd });
        // Once the crowd has settled, every find succeeds.
        let always = Bounds { min: Some(Bound::Flat(1.0)), max: None };
        scenario.expect.set("finds.success_rate", always);
        scenario.check()?;

        let report = scenario.run(RunOptions::default(), |_| {}).report;
        let figure = |figure: Option<f64>| figure.unwrap_or(f64::NAN);
        println!(
            "{bucket_links:>5}  {:>8.3} %  {:>4.2}  {:>7.0}  {:>11.2}  {:>13.1}  {}",
            figure(report.finds.success_rate) * 100.0,
            figure(report.finds.hops_mean),
            figure(report.finds.latency_ms_mean),
            figure(report.split_seconds_p99),
            figure(report.links.service_mean),
            report.failures.is_empty()
        );
        report.failures.iter().for_each(|failure| println!("       {failure}"));
    }
    Ok(())
}
