//! Others' programs that tests use bring their libraries: on a machine that has none of them, they run.

use monoship_core::execute::process::Invocation;
use monoship_core::execute::shutdown::Shutdown;

use support::tools::PROGRAMS;

/// What comes with the C library, which is the machine's own: the loader belongs to it.
const MACHINE: [&str; 9] = [
    "linux-vdso.so",
    "ld-linux",
    "libc.so.6",
    "libm.so.6",
    "libdl.so.2",
    "libpthread.so.0",
    "librt.so.1",
    "libresolv.so.2",
    "libutil.so.1",
];

#[test]
fn every_library_of_every_tool_lies_in_the_tools_own_folder() {
    for tool in PROGRAMS {
        let root = tool.root();
        let folders = std::env::join_paths(tool.libraries()).unwrap();
        // Of each library too: a program may load it by name.
        let listed = Invocation::new("find").arg(&root).args(["-type", "f", "-name", "lib*.so*"]).read(&Shutdown::new()).unwrap();
        let program = tool.program().display().to_string();
        let mut wrong = Vec::new();
        for file in std::iter::once(program.as_str()).chain(listed.lines()) {
            let ldd = Invocation::new("ldd").arg(file).env("LD_LIBRARY_PATH", &folders).run(&Shutdown::new()).unwrap();
            for line in ldd.text().lines().map(str::trim).filter(|line| line.contains(".so") && !line.contains("statically")) {
                let name = line.split_whitespace().next().unwrap();
                let is_machines = MACHINE.iter().any(|own| name.rsplit('/').next().unwrap().starts_with(own));
                let own = line.split("=> ").nth(1).is_some_and(|place| place.starts_with(root.to_str().unwrap()));
                if !is_machines && !own {
                    wrong.push(format!("{file}: {line}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(tool.path().is_file());
    }
}
