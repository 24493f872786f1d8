//! Machines as containers are: namespaces of processes and mounts, and a root file system of layers

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;
use xfer_protocol::message::{Access, OpenRoot, Reply, Request};
use xfer_protocol::survey::{Container, Survey, Surveyed};

use crate::stub::Controller;
use crate::xfer::binary;

/// Makes the root file system that the first process then has; `$2` are the test's own mounts
const SETUP: &str = "set -e; d=$1
    mount -t overlay -o lowerdir=$d/lower,upperdir=$d/upper,workdir=$d/work overlay $d/root
    cd $d/root
    mount --bind /usr usr; mount -o remount,bind,ro usr
    mount -t tmpfs dev dev
    for n in null zero random urandom; do touch dev/$n; mount --bind /dev/$n dev/$n; done
    mkdir dev/shm; mount -t tmpfs run run
    mount --bind \"$3\" boot/xfer; mount -o remount,bind,ro boot/xfer
    mount -t proc proc proc
    eval \"$2\"
    mkdir old; pivot_root . old; cd /
    exec /usr/bin/env -i PATH=/usr/bin:/usr/sbin VAST_CONTAINERLABEL=C.7 /usr/bin/bash -c \
    'umount -l /old; rmdir /old; echo ready; read -r _'";

/// A disk of a machine, which outlives it
pub struct Disk(TempDir);

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl Disk {
    /// One on which an image lies and nothing else
    pub fn new() -> Self {
        let directory = tempfile::tempdir_in("/var/tmp").expect("a directory on a disk");
        let at = |name: &str| directory.path().join(name);
        for name in ["boot", "data/sub", "dev", "disk", "etc", "mnt", "proc", "root", "run", "srv"]
            .into_iter()
            .chain(["tmp", "usr", "var/cache", "var/lib", "var/tmp", "opt/image"])
        {
            fs::create_dir_all(at("lower").join(name)).expect("a directory of the image");
        }
        for name in ["bin", "lib", "lib64", "sbin"] {
            symlink(Path::new("usr").join(name), at("lower").join(name)).expect("a link");
        }
        for name in ["boot/xfer", "opt/image/weights"] {
            fs::write(at("lower").join(name), b"image").expect("a file of the image");
        }
        for name in ["work", "root", "volume"] {
            fs::create_dir(at(name)).expect("a directory");
        }
        // The container begins later than its image, by the file system's own clock.
        let image = fs::metadata(at("lower/opt/image/weights")).expect("metadata").modified();
        loop {
            fs::create_dir(at("upper")).expect("a directory");
            let began = fs::metadata(at("upper")).expect("metadata").modified().expect("a time");
            if began > *image.as_ref().expect("a time") {
                break;
            }
            fs::remove_dir(at("upper")).expect("remove");
        }
        Self(directory)
    }

    /// A directory of the host's
    pub fn volume(&self) -> std::path::PathBuf {
        self.0.path().join("volume")
    }
}

/// A machine that runs
pub struct Machine {
    first: Child,
    /// Of its first process, as it is seen from here
    pid: String,
}

impl Machine {
    /// Starts on a disk; `mounts` is a script whose directory is the root to be
    pub fn start(disk: &Disk, mounts: &str) -> Self {
        let mut first = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--propagation", "private", "bash", "-c", SETUP])
            .arg("bash")
            .args([disk.0.path().as_os_str(), mounts.as_ref(), binary().as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("apt-get install util-linux");
        let mut line = String::new();
        let output = first.stdout.take().expect("piped");
        BufReader::new(output).read_line(&mut line).expect("read");
        assert_eq!(line, "ready\n", "no machine stands");
        let children = format!("/proc/{0}/task/{0}/children", first.id());
        let pid = fs::read_to_string(children).expect("read").trim().to_owned();
        Self { first, pid }
    }

    /// What a command begins with that is to run there
    pub fn entering(&self) -> [&str; 6] {
        ["nsenter", "--mount", "--pid", "--wdns=/", "--target", &self.pid]
    }

    /// Ends it, and all that runs there
    pub fn end(&mut self) {
        // With its first process all others end.
        drop(self.first.stdin.take());
        drop(self.first.wait());
    }

    fn command(&self, words: &[&str]) -> Command {
        let [program, arguments @ ..] = self.entering();
        let mut command = Command::new(program);
        command.args(arguments).args(words);
        command.env_clear().env("PATH", "/usr/bin:/usr/sbin:/bin:/sbin").env("HOME", "/root");
        command
    }

    /// Runs a script to its end
    pub fn run(&self, script: &str) {
        let status = self.command(&["bash", "-c", script]).stdin(Stdio::null()).status();
        assert!(status.expect("start").success(), "{script}");
    }

    /// What a script prints
    pub fn says(&self, script: &str) -> String {
        let output = self.command(&["bash", "-c", script]).stdin(Stdio::null()).output();
        String::from_utf8(output.expect("start").stdout).expect("text").trim().to_owned()
    }

    /// Runs a script, which then waits
    pub fn hold(&self, script: &str) -> Held {
        self.held(&["bash", "-c", &format!("{script}\necho; read -r _")])
    }

    /// Runs Python, which then waits
    pub fn hold_python(&self, script: &str) -> Held {
        let script = format!("{script}\nprint(flush=True)\ninput()");
        self.held(&["python3", "-c", &script])
    }

    fn held(&self, words: &[&str]) -> Held {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        output.read_line(&mut line).expect("read");
        assert_eq!(line, "\n", "{words:?}");
        Held { child, output }
    }

    /// A session with an agent there
    pub fn agent(&self) -> Agent {
        self.agent_by(&[])
    }

    /// The same through a command that runs it
    pub fn agent_by(&self, words: &[&str]) -> Agent {
        let (sentinel, session) = ("ab".repeat(32), "07".repeat(16));
        let agent = ["/boot/xfer", "agent", "--sentinel", &sentinel, "--session", &session];
        let words = [words, &agent, &["--silence", "60"]].concat();
        let mut command = self.command(&words);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let input = process.stdin.take().expect("piped");
        let controller = Controller::greet(output, input, 32, [7; 16]).expect("it greets");
        Agent { process, controller: Some(controller), number: 0 }
    }

    /// Who it says it is
    pub fn identity(&self, mark: bool) -> Container {
        self.agent().identity(mark)
    }

    /// What it finds below a root
    pub fn survey(&self, root: &str) -> Surveyed {
        self.agent().survey(root)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}

/// A process of a machine that waits until this is dropped
pub struct Held {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Held {
    /// Lets it go on, up to its next line
    pub fn go_on(&mut self) {
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(b"\n").expect("write");
        input.flush().expect("write");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read");
        assert_eq!(line, "\n");
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(mut input) = self.child.stdin.take() {
            // It may have ended.
            drop(input.write_all(b"\n"));
        }
        drop(self.child.wait());
    }
}

/// A session with an agent
pub struct Agent {
    process: Child,
    controller: Option<Controller<BufReader<ChildStdout>, ChildStdin>>,
    number: u32,
}

impl Agent {
    /// The answer to a request, or its fault's kind
    pub fn ask(&mut self, request: Request) -> Result<Reply, xfer_protocol::fault::Fault> {
        self.controller.as_mut().expect("open").ask(request, &[]).expect("an answer")
    }

    /// Who it says it is
    pub fn identity(&mut self, mark: bool) -> Container {
        match self.ask(Request::Identify(mark)) {
            Ok(Reply::Container(container)) => container,
            other => panic!("{other:?}"),
        }
    }

    /// Surveys until it is over
    pub fn survey(&mut self, root: &str) -> Surveyed {
        self.number += 1;
        let roots = vec![root.as_bytes().to_vec()];
        let survey = Survey { number: self.number, roots, outside: true };
        loop {
            match self.ask(Request::Survey(survey.clone())) {
                Ok(Reply::Surveyed(None)) => {}
                Ok(Reply::Surveyed(Some(found))) => return *found,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Whether a root is written back
    pub fn write_back(&mut self, root: &str) -> Result<Reply, xfer_protocol::fault::Fault> {
        let open = OpenRoot { path: root.as_bytes().to_vec(), access: Access::Read };
        let Ok(Reply::Root(root)) = self.ask(Request::OpenRoot(open)) else { panic!("no root") };
        self.ask(Request::WriteBack(root.index))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.controller.take());
        drop(self.process.wait());
    }
}
