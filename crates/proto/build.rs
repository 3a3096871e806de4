//! Generates the Rust code of what Hexagram's processes say to each other. protox parses the files, so no protoc is needed.

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Asked at run time: a cache shared by clones may hold a build script that
    // was compiled in another one.
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let protos = ["link.proto", "handoff.proto", "admin.proto"].map(|file| root.join(file));
    let files = protox::compile(protos, [&root])?;
    tonic_prost_build::configure()
        .bytes(".")
        .compile_fds(files)?;
    Ok(())
}
