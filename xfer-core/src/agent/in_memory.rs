//! The agent on a machine that takes no file any more: its program in memory that has no name.
//!
//! No shell makes such memory, so an interpreter of the far side does: perl, which nearly every
//! distribution has, or python3. It reads the program from its stdin, checks it, and becomes it.

/// What names the memory, so that a further stream finds the program in `/proc`.
pub(super) fn name(sha256: &str) -> String {
    format!("agent-{}", &sha256[..sha256.len().min(32)])
}

/// Lists the programs of that name that run, for a script within single quotes.
pub(super) fn running(sha256: &str) -> String {
    format!(
        "$(ls -l /proc/[0-9]*/exe 2>/dev/null | \
         sed -n \"s,^.* \\(/proc/[0-9]*/exe\\) -> /memfd:{}.*$,\\1,p\")",
        name(sha256)
    )
}

/// Reads `length` bytes of program, checks them, and becomes it; what follows is the program's
/// input, and what is exported its environment. Where there is no interpreter, prints the mark and
/// the kind of machine.
pub(super) fn script(
    length: usize,
    sha256: &str,
    export: &str,
    arguments: &str,
    missing: &str,
) -> String {
    let name = name(sha256);
    // Within double quotes within single ones, on one line: any login shell passes that on.
    let perl = "my (\\$n,\\$s,\\$m,\\$d,@a)=@ARGV; my \\$f=syscall(\\$s,\\$m,0); exit 1 if \\$f<0; \
        open(my \\$o,\\\">&=\\\",\\$f); binmode \\$o; binmode STDIN; \
        while(\\$n>0){my \\$r=sysread(STDIN,my \\$b,\\$n<65536?\\$n:65536); exit 1 unless \\$r; \
        exit 1 unless syswrite(\\$o,\\$b)==\\$r; \\$n-=\\$r} my \\$p=\\\"/proc/\\$\\$/fd/\\$f\\\"; \
        my \\$c=qx(sha256sum \\$p 2>/dev/null); \
        exit 3 if length(\\$c)>0 and index(\\$c,\\$d)<0; exec {\\$p} @a";
    let python = "import os,sys,hashlib as h;a=sys.argv;n=int(a[1]);f=os.memfd_create(a[2],0);\
        d=h.sha256();exec(\\\"while n>0:\\\\n b=os.read(0,min(n,65536));\
        n=n-len(b) if b else sys.exit(1);d.update(b);os.write(f,b)\\\");\
        d.hexdigest()==a[3] or sys.exit(3);os.execve(f,a[4:],os.environ)";
    format!(
        "exec sh -c '{export}case \"$(uname -m)\" in \
         x86_64) c=319;; aarch64) c=279;; *) c=;; esac; \
         if [ -n \"$c\" ] && command -v perl >/dev/null 2>&1; then \
         exec perl -e \"{perl}\" {length} $c {name} {sha256} xfer {arguments}; fi; \
         if command -v python3 >/dev/null 2>&1; then \
         exec python3 -c \"{python}\" {length} {name} {sha256} xfer {arguments}; fi; \
         echo \"{missing} $(uname -sm)\"'"
    )
}
