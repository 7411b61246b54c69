//! What is written of the metrics: the code, the document and the dashboard say the same.

use std::collections::BTreeSet;

use metrics::Unit;
use tower_revalidate::Hub;

use super::recorder::Recorder;

/// The words of a text that are names of metrics.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("tower_revalidate_")).map(str::to_owned).collect()
}

const DOCUMENT: &str = include_str!("../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../docs/grafana.json");

/// Code, document and dashboard name the same metrics.
#[test]
fn every_metric_is_documented_and_on_the_dashboard() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    hub_that_was_used();
    let registered: BTreeSet<_> =
        recorder.series().iter().map(|series| series.split('{').next().unwrap().to_owned()).collect();
    assert!(registered.len() > 10);
    assert_eq!(names(include_str!("../../src/metrics.rs")), registered);
    assert_eq!(recorder.described.lock().keys().cloned().collect::<BTreeSet<_>>(), registered);
    assert_eq!(names(DOCUMENT), registered);
    // Of a histogram Prometheus makes three.
    let parts = ["_bucket", "_sum", "_count"];
    let whole = |name: String| match parts.iter().find_map(|part| name.strip_suffix(part)) {
        Some(histogram) if registered.contains(histogram) => histogram.to_owned(),
        _ => name,
    };
    assert_eq!(names(DASHBOARD).into_iter().map(whole).collect::<BTreeSet<_>>(), registered);
}

fn hub_that_was_used() {
    Hub::new().revalidate("a").wait().unwrap();
}

/// The document's table says of each metric what a recorder hears of it.
#[test]
fn types_and_labels_are_those_of_the_document() {
    let recorder = Recorder::default();
    let _installed = metrics::set_default_local_recorder(&recorder);
    hub_that_was_used();
    let quoted =
        |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut documented = BTreeSet::new();
    for row in DOCUMENT.lines().filter(|line| line.starts_with("| `tower_revalidate_")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let (name, kind, labels, unit) = (cells[1].trim_matches('`'), cells[2], cells[3], cells[4]);
        let (label, values) = labels.split_once(':').unwrap_or((labels, ""));
        let series: BTreeSet<String> = match (label, quoted(values)) {
            ("", _) => [name.to_owned()].into(),
            (label, values) if values.is_empty() => {
                let prefix = format!("{name}{{{}=", label.trim_matches('`'));
                recorder.series().into_iter().filter(|series| series.starts_with(&prefix)).collect()
            }
            (label, values) => {
                let label = label.trim_matches('`');
                values.iter().map(|value| format!("{name}{{{label}={value:?}}}")).collect()
            }
        };
        let known: BTreeSet<String> = match kind {
            "counter" => recorder.counters.lock().keys().cloned().collect(),
            "gauge" => recorder.gauges.lock().keys().cloned().collect(),
            "histogram" => recorder.histograms.lock().keys().cloned().collect(),
            other => panic!("{name} is a {other}"),
        };
        assert!(!series.is_empty() && series.is_subset(&known), "{name} is no {kind} with {series:?}");
        let told = match unit {
            "bytes" => Unit::Bytes,
            "seconds" => Unit::Seconds,
            _ => Unit::Count,
        };
        assert_eq!(recorder.described.lock()[name], Some(told), "{name}");
        documented.extend(series);
    }
    assert_eq!(documented, recorder.series());
}

/// A dashboard that Grafana takes: each panel asks the source that its reader picks, has a unit, and a place of its own.
#[test]
fn the_dashboard_is_whole() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let variable = &dashboard["templating"]["list"][0];
    assert_eq!((&variable["type"], &variable["query"]), (&"datasource".into(), &"prometheus".into()));
    let source = format!("${{{}}}", variable["name"].as_str().unwrap());
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    let panels = dashboard["panels"].as_array().unwrap();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in side("x")..side("x") + side("w") {
            assert!(x < 24, "{panel}");
            for y in side("y")..side("y") + side("h") {
                assert!(places.insert((x, y)), "two panels at {x}, {y}: {panel}");
            }
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{panel}");
        assert!(panel["title"].is_string() && panel["description"].is_string(), "{panel}");
        assert_eq!(panel["datasource"]["uid"], source, "{panel}");
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty());
        for target in targets {
            let query = target["expr"].as_str().unwrap();
            assert!(!names(query).is_empty(), "{query}");
            assert_eq!(target["datasource"]["uid"], source);
            let depth = query.chars().try_fold(0_i32, |depth, letter| match letter {
                '(' | '{' | '[' => Some(depth + 1),
                ')' | '}' | ']' => Some(depth - 1).filter(|depth| *depth >= 0),
                _ => Some(depth),
            });
            assert_eq!(depth, Some(0), "{query}");
        }
    }
}
