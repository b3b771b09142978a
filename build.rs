//! Generates Rust types from `proto/` without a `protoc` binary: protox parses, prost-build prints.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = [
        "remote_read.proto",
        "remote_write_v1.proto",
        "remote_write_v2.proto",
        "state_counter.proto",
        "state_engine.proto",
        "state_instances.proto",
        "state_sampling.proto",
    ];
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new().compile_fds(descriptors)?;
    Ok(())
}
