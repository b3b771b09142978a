//! A disk of a few megabytes, for one process and those that it starts: a tmpfs in a mount namespace.
//!
//! Root may make one, and so may users where the kernel lets them have a namespace of their own. It is gone when its
//! holder ends, so that nothing is left on the machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::support::{Process, wait_until};

pub struct SmallDisk {
    holder: Process,
    path: PathBuf,
    /// Options of `nsenter` with which a process gets to see it.
    enter: Vec<String>,
}

const BALLAST: &str = "ballast";
const HOW: &str = "a disk that can be filled needs a mount namespace: run tests as root with CAP_SYS_ADMIN \
     (docker run --cap-add SYS_ADMIN --security-opt apparmor=unconfined), or as a user who may make user namespaces \
     (sysctl kernel.unprivileged_userns_clone=1, kernel.apparmor_restrict_unprivileged_userns=0)";

// === impl SmallDisk ===

impl SmallDisk {
    /// Mounts one of this size, such as `8m`, over a directory that need not exist.
    pub fn mount(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        Self::try_mount(path, size, &[])
            .or_else(|_| Self::try_mount(path, size, &["--user", "--map-root-user"]))
            .unwrap_or_else(|log| panic!("{HOW}:\n{log}"))
    }

    fn try_mount(path: &Path, size: &str, as_whom: &[&str]) -> Result<Self, String> {
        let script = "mount -t tmpfs -o size=\"$2\" tmpfs \"$1\" && echo mounted && exec sleep infinity";
        let mut command = Command::new("unshare");
        command.args(as_whom).args(["--mount", "sh", "-c", script, "sh"]).arg(path).arg(size);
        let holder = Process::start(&mut command, path.with_extension("mount"));
        wait_until("a disk is mounted, or is not", || !holder.log().is_empty());
        if holder.log() != "mounted\n" {
            let log = holder.log();
            fs::remove_file(path.with_extension("mount")).unwrap();
            return Err(log);
        }
        let target = holder.id().to_string();
        let user = ["--user", "--preserve-credentials"].into_iter().filter(|_| !as_whom.is_empty());
        let enter = ["nsenter", "--target", &target, "--mount"].into_iter().chain(user);
        let enter = enter.map(str::to_owned).collect();
        Ok(Self { holder, path: path.to_owned(), enter })
    }

    /// The command that starts others where the disk is.
    pub fn under(&self) -> Vec<String> {
        self.enter.clone()
    }

    /// Takes so many bytes of it.
    pub fn fill(&self, bytes: u64) {
        fs::write(self.ballast(), vec![1; bytes as usize]).unwrap();
    }

    /// Takes all that is free.
    pub fn fill_up(&self) {
        let chunk = vec![1; 1 << 20];
        let mut file = fs::File::options().create(true).append(true).open(self.ballast()).unwrap();
        let full = loop {
            match std::io::Write::write_all(&mut file, &chunk) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
    }

    /// Gives back what was taken.
    pub fn make_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }

    /// Nothing on it may be written any more.
    pub fn make_read_only(&self) {
        let (nsenter, options) = self.enter.split_first().unwrap();
        let mut mount = Command::new(nsenter);
        mount.args(options).args(["mount", "-o", "remount,ro"]).arg(&self.path);
        assert!(mount.status().unwrap().success());
    }

    /// Others see it through its holder.
    fn ballast(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.path.strip_prefix("/").unwrap()).join(BALLAST)
    }
}
