//! What the README quotes of the examples is what stands in them.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

#[test]
fn every_quoted_line_stands_in_the_example() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let quotes: Vec<_> = readme.split("```rs\n").skip(1).collect();
    assert_eq!(quotes.len(), 3, "warp, salvo, poem");
    for quote in quotes {
        let (quote, _) = quote.split_once("```").unwrap();
        let (file, lines) = quote.split_once('\n').unwrap();
        let file = file.strip_prefix("// ").unwrap();
        let source = std::fs::read_to_string(root.join(file)).unwrap();
        let mut source = source.lines().map(str::trim);
        for line in lines.lines().map(str::trim).filter(|line| !line.is_empty() && *line != "// …") {
            assert!(source.any(|found| found == line), "{file} has no line {line:?} after those before it");
        }
    }
}
