use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Runs that do a little arithmetic in place of a simulation.
#[derive(Default)]
struct Arithmetic {
    runs: AtomicUsize,
    /// Runs with this seed panic.
    panics_at: Option<i64>,
    seen: Mutex<Vec<String>>,
}

impl Runner for Arithmetic {
    fn check(&self, scenario: &str) -> Result<(), String> {
        let table: Table = scenario.parse().map_err(|error: toml::de::Error| error.to_string())?;
        match table["nodes"]["service"].as_integer() {
            Some(1..) => Ok(()),
            _ => Err(String::from("nodes.service: it is not a number from 1 on")),
        }
    }

    fn run(&self, scenario: &str) -> Result<serde_json::Value, String> {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let table: Table = scenario.parse().expect("it was checked");
        let number = |value: &Value| value.as_integer().expect("a number");
        let (seed, nodes) = (number(&table["seed"]), number(&table["nodes"]["service"]));
        assert_ne!(Some(seed), self.panics_at, "as asked for");
        self.seen.lock().expect("no one panics with it").push(format!("{nodes} {seed}"));
        let failures: &[&str] = if seed == 3 { &["One, and \"two\"."] } else { &[] };
        Ok(serde_json::json!({
            "seed": seed, "service_nodes": nodes, "trace_hash": format!("{:x}", nodes * 7919 + seed),
            "failures": failures, "details": ["x"],
        }))
    }
}

const SWEEP: &str = "seeds = \"1..4\"\n[base]\nname = \"x\"\n[base.nodes]\nservice = 1\n[grid]\nnodes.service = [10, 20]\n\"churn.model\" = [\"none\", \"kad\"]\n";

fn read(text: &str) -> Result<Sweep, SweepError> {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("sweep.toml");
    fs::write(&path, text).expect("it writes");
    Sweep::read(&path)
}

fn options(threads: usize) -> SweepOptions {
    SweepOptions { threads, shard: (1, 1) }
}

fn carry(folder: &Path, options: SweepOptions, runner: &Arithmetic) -> Result<Summary, SweepError> {
    carry_out(&read(SWEEP).expect("it reads"), folder, options, runner, &|_| {})
}

#[test]
fn every_combination_is_run_with_every_seed() {
    let sweep = read(SWEEP).expect("it reads");
    assert_eq!(sweep.len(), 12);
    let names: Vec<String> = (0..12).map(|index| sweep.point(index).expect("a point").name()).collect();
    assert_eq!(names[0], "churn.model=none nodes.service=10 seed=1");
    assert_eq!(names[11], "churn.model=kad nodes.service=20 seed=3");
    let scenario: Table = sweep.point(4).expect("a point").scenario.parse().expect("TOML");
    assert_eq!(scenario["nodes"]["service"].as_integer(), Some(20));
    assert_eq!(scenario["churn"]["model"].as_str(), Some("none"));
    assert_eq!((scenario["seed"].as_integer(), scenario["name"].as_str()), (Some(2), Some("x")));
}

#[test]
fn a_base_may_be_a_file() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("base.toml"), "seed = 9\nnodes = { service = 2 }\n").expect("it writes");
    let path = dir.path().join("sweep.toml");
    fs::write(&path, "base = \"base.toml\"\n").expect("it writes");
    let sweep = Sweep::read(&path).expect("it reads");
    assert_eq!((sweep.len(), sweep.point(0).expect("a point").name()), (1, String::from("seed=9")));
    fs::write(&path, "base = \"none.toml\"\n").expect("it writes");
    let error = Sweep::read(&path).expect_err("there is none");
    assert!(error.to_string().contains("none.toml"), "{error}");
}

#[test]
fn bad_sweeps_are_refused_with_the_key() {
    for (text, key) in [
        ("seeds = [1]\n", "base"),
        ("base = 3\n", "base"),
        ("sedes = [1]\n[base]\n", "sedes"),
        ("seeds = \"4..4\"\n[base]\n", "seeds"),
        ("seeds = \"a..4\"\n[base]\n", "seeds"),
        ("seeds = \"0..99999999999\"\n[base]\n", "seeds"),
        ("seeds = [1, 1]\n[base]\n", "seeds"),
        ("seeds = [-1]\n[base]\n", "seeds"),
        ("seeds = [9223372036854775807, 0]\ngrid = 1\n[base]\n", "grid"),
        ("[base]\n[grid]\na = []\n", "grid.a"),
        ("[base]\n[grid]\na.b = 3\n", "grid.a.b"),
        ("[base]\n[grid]\na = [1, 1]\n", "grid.a"),
        ("[base]\n[grid]\nseed = [1]\n", "grid.seed"),
        ("[base]\na = 1\n[grid]\na.b = [1]\n", "grid.a.b"),
        ("[base]\nseed = \"x\"\n", "base.seed"),
    ] {
        match read(text) {
            Err(SweepError::Key { key: found, .. }) => assert_eq!(found, key, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(matches!(read("base = ["), Err(SweepError::Syntax { .. })));
}

#[test]
fn one_and_two_threads_fill_equal_tables() {
    let (one, two) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let summary = carry(one.path(), options(1), &Arithmetic::default()).expect("it runs");
    assert_eq!((summary.total, summary.skipped, summary.failing.len()), (12, 0, 4));
    assert_eq!(carry(two.path(), options(2), &Arithmetic::default()).expect("it runs"), summary);
    let table = |dir: &tempfile::TempDir| fs::read_to_string(dir.path().join("runs.csv")).expect("a table");
    assert_eq!(table(&one), table(&two));
    assert!(table(&one).starts_with("grid.churn.model,grid.nodes.service,seed,failures,"), "{}", table(&one));
    assert_eq!(table(&one).lines().count(), 13);
}

#[test]
fn an_interrupted_sweep_goes_on_where_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("runs.csv");
    carry(dir.path(), options(2), &Arithmetic::default()).expect("it runs");
    let whole = fs::read_to_string(&path).expect("a table");
    // As if the power had gone in the middle of the sixth row.
    let cut = whole.match_indices('\n').nth(5).expect("a row").0 + 8;
    fs::write(&path, &whole[..cut]).expect("it writes");
    let runner = Arithmetic::default();
    let summary = carry(dir.path(), options(2), &runner).expect("it runs");
    assert_eq!((summary.skipped, runner.runs.load(Ordering::Relaxed)), (5, 7));
    assert_eq!(summary.failing.len(), 4, "failures of skipped runs count");
    assert_eq!(fs::read_to_string(&path).expect("a table"), whole);
    let again = Arithmetic::default();
    carry(dir.path(), options(2), &again).expect("it runs");
    assert_eq!(again.runs.load(Ordering::Relaxed), 0);
}

#[test]
fn shards_share_the_runs() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut seen = Vec::new();
    for shard in 1..=5 {
        let runner = Arithmetic::default();
        carry(dir.path(), SweepOptions { threads: 2, shard: (shard, 5) }, &runner).expect("it runs");
        assert!(dir.path().join(format!("runs-{shard}-of-5.csv")).is_file());
        seen.extend(runner.seen.into_inner().expect("no one panics with it"));
    }
    seen.sort();
    let mut expected: Vec<String> =
        (0..12).map(|at| format!("{} {}", if at < 6 { 10 } else { 20 }, at % 3 + 1)).collect();
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn a_run_that_panics_leaves_no_row_and_is_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let runner = Arithmetic { panics_at: Some(2), ..Arithmetic::default() };
    let summary = carry(dir.path(), options(2), &runner).expect("it goes on");
    assert_eq!(summary.broken.len(), 4);
    assert!(summary.broken[0].0.ends_with("seed=2"), "{:?}", summary.broken);
    let table = fs::read_to_string(dir.path().join("runs.csv")).expect("a table");
    assert_eq!(table.lines().count(), 9);
    let again = Arithmetic::default();
    carry(dir.path(), options(1), &again).expect("it runs");
    assert_eq!(again.runs.load(Ordering::Relaxed), 4);
}

#[test]
fn a_folder_keeps_to_its_sweep_and_takes_more_seeds() {
    let dir = tempfile::tempdir().expect("a folder");
    carry(dir.path(), options(1), &Arithmetic::default()).expect("it runs");
    let more = read(&SWEEP.replace("1..4", "1..5")).expect("it reads");
    let runner = Arithmetic::default();
    let summary = carry_out(&more, dir.path(), options(1), &runner, &|_| {}).expect("it runs");
    assert_eq!((summary.total, summary.skipped, runner.runs.load(Ordering::Relaxed)), (16, 12, 4));
    let other = read(&SWEEP.replace("name = \"x\"", "name = \"y\"")).expect("it reads");
    let error = carry_out(&other, dir.path(), options(1), &runner, &|_| {}).expect_err("another base");
    assert!(matches!(error, SweepError::OtherSweep { .. }), "{error}");
    let table = fs::read_to_string(dir.path().join("runs.csv")).expect("a table");
    assert_eq!(table.lines().count(), 17, "nothing is lost");
}

#[test]
fn bad_points_are_found_before_the_first_run() {
    let dir = tempfile::tempdir().expect("a folder");
    let sweep = read("[base]\nnodes = { service = 1 }\n[grid]\nnodes.service = [5, 0]\n").expect("it reads");
    let runner = Arithmetic::default();
    let error =
        carry_out(&sweep, &dir.path().join("out"), options(2), &runner, &|_| {}).expect_err("0 nodes");
    assert!(error.to_string().starts_with("nodes.service=0 seed=1: nodes.service"), "{error}");
    assert_eq!(runner.runs.load(Ordering::Relaxed), 0);
    assert!(!dir.path().join("out").exists());
}

#[test]
fn a_foreign_table_is_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("runs.csv");
    for (content, words) in
        [("a,b\n1,2\n", "grid.churn.model"), ("a,b\n1", "grid.churn.model"), ("letter", "not a table")]
    {
        fs::write(&path, content).expect("it writes");
        let error = carry(dir.path(), options(1), &Arithmetic::default()).expect_err("it is foreign");
        assert!(error.to_string().contains("runs.csv") && error.to_string().contains(words), "{error}");
        assert_eq!(fs::read_to_string(&path).expect("it is there"), content);
    }
    fs::remove_file(&path).expect("it goes");
    fs::create_dir(&path).expect("a folder in its place");
    let error = carry(dir.path(), options(1), &Arithmetic::default()).expect_err("a folder");
    assert!(error.to_string().contains("runs.csv"), "{error}");
}

#[test]
fn the_sweeps_of_the_tree_can_be_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sweeps");
    let mut found = 0;
    for entry in fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let sweep = Sweep::read(&path).unwrap_or_else(|error| panic!("{error}"));
        for index in 0..sweep.len() {
            let point = sweep.point(index).expect("a point");
            Scenarios.check(&point.scenario).unwrap_or_else(|error| panic!("{}: {error}", point.name()));
        }
        found += 1;
    }
    assert!(found >= 2);
}
