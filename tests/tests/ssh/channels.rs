//! Commands and streams over one connection

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xfer_core::transport::ssh::{ChannelUse, HostKeyTrust, SshError, SshErrorClass};
use xfer_tests::sshd::Sshd;

use crate::{connect, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_with_stdin_stdout_stderr_and_status() {
    let server = Sshd::start("");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    assert_eq!(connection.host_key_trust(), HostKeyTrust::Known);
    let output = connection.run("cat; echo no >&2; exit 7", "to and fro", 100).await.unwrap();
    assert_eq!(output.stdout, b"to and fro");
    assert_eq!(output.stderr, b"no\n");
    assert_eq!(output.status, Some(7));
    let killed = connection.run("kill -9 $$", "", 100).await.unwrap();
    assert_eq!(killed.status, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn output_and_stderr_are_bounded() {
    let server = Sshd::start("");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    let error = connection.run("head -c 101 /dev/zero", "", 100).await.unwrap_err();
    assert!(matches!(error, SshError::OutputTooLong { limit: 100, .. }), "{error}");
    let output = connection.run("head -c 100 /dev/zero", "", 100).await.unwrap();
    assert_eq!(output.stdout.len(), 100);
    let noisy = "head -c 1000000 /dev/zero >&2; echo last >&2";
    let output = connection.run(noisy, "", 100).await.unwrap();
    assert_eq!(output.stderr.len(), 64 << 10);
    assert!(output.stderr.ends_with(b"\0last\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_reads_nothing_does_not_hold_up_its_input() {
    let server = Sshd::start("");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    let output = connection.run("exit 3", vec![7; 40 << 20], 100).await.unwrap();
    assert_eq!(output.status, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_stream_ends_its_command_and_no_other() {
    let server = Sshd::start("");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    let mut kept = connection.exec("cat").await.unwrap();
    let command = "echo $$; trap 'echo hup > hup; exit' HUP; cat; echo over > over";
    let mut dropped = connection.exec(command).await.unwrap();
    let mut line = [0; 1];
    dropped.stream.reader.read_exact(&mut line).await.unwrap();
    drop(dropped);
    // The end of its input is what a command sees; this one then leaves a mark.
    let mark = "while ! test -e over; do sleep 0.02; done; echo seen";
    let output = connection.run(mark, "", 100).await.unwrap();
    assert_eq!(output.stdout, b"seen\n");

    kept.stream.writer.write_all(b"still here").await.unwrap();
    kept.stream.writer.shutdown().await.unwrap();
    let mut text = Vec::new();
    kept.stream.reader.read_to_end(&mut text).await.unwrap();
    assert_eq!(text, b"still here");
    assert_eq!(kept.wait().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_the_handle_of_its_connection() {
    let server = Sshd::start("");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    let exec = connection.exec("cat").await.unwrap();
    drop(connection);
    let mut stream = exec.stream;
    stream.writer.write_all(b"on its own").await.unwrap();
    let mut text = [0; 10];
    stream.reader.read_exact(&mut text).await.unwrap();
    assert_eq!(&text, b"on its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_one_session_refuses_the_second_clearly() {
    let server = Sshd::start("MaxSessions 1");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    let first = connection.exec("cat").await.unwrap();
    let error = connection.exec("cat").await.unwrap_err();
    assert!(matches!(error, SshError::NoChannel { .. }), "{error}");
    assert_eq!((error.class(), error.reason()), (SshErrorClass::Protocol, "channel-refused"));
    drop(first);
    assert_eq!(connection.run("echo again", "", 100).await.unwrap().stdout, b"again\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subsystem_starts_and_a_missing_one_is_refused() {
    let server = Sshd::start("");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    let mut sftp = connection.subsystem("sftp").await.unwrap();
    sftp.writer.write_all(&[0, 0, 0, 5, 1, 0, 0, 0, 3]).await.unwrap();
    let mut header = [0; 9];
    sftp.reader.read_exact(&mut header).await.unwrap();
    assert_eq!(header[4..], [2, 0, 0, 0, 3]);
    let Err(error) = connection.subsystem("none-such").await else { panic!("it started") };
    assert!(matches!(error, SshError::Channel { wanted: ChannelUse::Subsystem, .. }), "{error}");
}

/// Keys are exchanged anew after each MiB while data runs both ways in writes of 256 KiB.
///
/// The server's log proves that the exchanges took place; every byte is compared.
#[tokio::test(flavor = "multi_thread")]
async fn bytes_survive_many_key_exchanges() {
    const TOTAL: usize = 200 << 20;
    const WRITE: usize = 256 << 10;
    let server = Sshd::start("RekeyLimit 1M\nLogLevel DEBUG1");
    let connection = connect(&options(&server.client_config("here")), "here").await.unwrap();
    let mut exec = connection.exec("cat").await.unwrap();
    let mut stream = std::mem::replace(
        &mut exec.stream,
        xfer_core::transport::Stream::new(tokio::io::empty(), tokio::io::sink()),
    );
    let pattern = |index: usize| {
        let mut piece = vec![0; WRITE];
        for (at, chunk) in piece.chunks_mut(8).enumerate() {
            chunk
                .copy_from_slice(&(index * WRITE + at * 8).wrapping_mul(0x9e37_79b9).to_le_bytes());
        }
        piece
    };
    let sending = tokio::spawn(async move {
        for index in 0..TOTAL / WRITE {
            stream.writer.write_all(&pattern(index)).await.unwrap();
        }
        stream.writer.shutdown().await.unwrap();
    });
    let mut received = vec![0; WRITE];
    for index in 0..TOTAL / WRITE {
        stream.reader.read_exact(&mut received).await.unwrap();
        assert!(received == pattern(index), "piece {index} differs");
    }
    assert_eq!(stream.reader.read(&mut received).await.unwrap(), 0);
    sending.await.unwrap();
    assert_eq!(exec.wait().await, Some(0));
    let exchanges = server.log_count("SSH2_MSG_NEWKEYS received");
    assert!(exchanges > 100, "only {exchanges} key exchanges");
}
