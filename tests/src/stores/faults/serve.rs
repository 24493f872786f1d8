//! One connection of the proxy

use std::io::{self, BufReader, Write};
use std::net::TcpStream;

use super::super::http::{self, Framing, Message};
use super::{Action, Cut, Passed, Road, Rule, lock};

type Store = BufReader<TcpStream>;

/// Requests one behind the other, until a side ends
pub(super) fn connection(road: &Road, near: TcpStream) -> io::Result<()> {
    let mut writer = near.try_clone()?;
    let mut reader = http::reader(near);
    while let Some(request) = Message::read(&mut reader)? {
        let mut passed = Passed {
            method: request.method().to_owned(),
            target: request.target().to_owned(),
            status: None,
            sent: 0,
        };
        let goes_on = exchange(road, &mut reader, &mut writer, request, &mut passed);
        lock(&road.passed).push(passed);
        if !goes_on? {
            break;
        }
    }
    Ok(())
}

/// One request and its answer; false where the connection ends with it
fn exchange(
    road: &Road,
    near: &mut BufReader<TcpStream>,
    back: &mut TcpStream,
    mut request: Message,
    passed: &mut Passed,
) -> io::Result<bool> {
    if request.get("expect").is_some() {
        back.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        request.remove("expect");
    }
    let due = road.due(&request);
    let action = due.as_ref().map(|(rule, _)| &rule.action);
    let is_bodiless = request.method() == "HEAD";
    match action {
        Some(Action::Unheard) => {
            http::reset(back);
            return Ok(false);
        }
        Some(Action::Answer(answer)) => {
            let framing = request.framing(Framing::Length(0));
            passed.sent = http::body(near, framing, |_| Ok(()))?;
            passed.status = Some(answer.status());
            return answer.send(back, is_bodiless).map(|()| true);
        }
        Some(Action::Hold) => {
            let rule = &due.as_ref().expect("a rule").0;
            rule.wait_for(|state| state.released.then_some(()));
        }
        _ => {}
    }
    let mut store = ask(road, near, &request, action, passed)?;
    let mut answer = loop {
        let answer = Message::read(&mut store)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if answer.status() >= 200 {
            break answer;
        }
    };
    answer.remove("connection");
    if let Some(Action::Lost) = action {
        http::reset(back);
        return Ok(false);
    }
    passed.status = Some(answer.status());
    let is_bodiless = is_bodiless || [204, 304].contains(&answer.status());
    let framing = if is_bodiless { Framing::Length(0) } else { answer.framing(Framing::UntilEnd) };
    match (action, &due) {
        (None | Some(Action::Hold | Action::Sent(_)), _) | (_, None) => {
            stream(&mut store, back, answer, framing)
        }
        (Some(Action::Cut(bytes, how)), _) => cut(&mut store, back, answer, framing, *bytes, *how),
        (Some(action), Some((rule, number))) => {
            http::body(&mut store, framing, |piece| {
                answer.body.extend_from_slice(piece);
                Ok(())
            })?;
            let answer = other(action, rule, *number, &request, answer);
            passed.status = Some(answer.status());
            answer.send(back, is_bodiless).map(|()| true)
        }
    }
}

/// Sends the request to the store, as it is or as the rule changes it
fn ask(
    road: &Road,
    near: &mut BufReader<TcpStream>,
    request: &Message,
    action: Option<&Action>,
    passed: &mut Passed,
) -> io::Result<Store> {
    let mut store = TcpStream::connect(("127.0.0.1", road.store))?;
    store.set_nodelay(true)?;
    let mut sent = request.clone();
    sent.set("connection", "close");
    let framing = request.framing(Framing::Length(0));
    let count = &mut passed.sent;
    if let Some(Action::Sent(change)) = action {
        *count = http::body(near, framing, |piece| {
            sent.body.extend_from_slice(piece);
            Ok(())
        })?;
        change(&mut sent);
        sent.send(&mut store, false)?;
        return Ok(http::reader(store));
    }
    store.write_all(&sent.head())?;
    let done = http::body(near, framing, |piece| {
        *count += piece.len() as u64;
        send_piece(&mut store, framing, piece)
    });
    match done {
        Ok(_) if framing == Framing::Chunked => store.write_all(b"0\r\n\r\n")?,
        // A store that refuses early has said why.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        done => drop(done?),
    }
    Ok(http::reader(store))
}

fn send_piece(to: &mut TcpStream, framing: Framing, piece: &[u8]) -> io::Result<()> {
    if framing == Framing::Chunked {
        to.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
        to.write_all(piece)?;
        return to.write_all(b"\r\n");
    }
    to.write_all(piece)
}

/// The answer as it comes
fn stream(
    store: &mut Store,
    back: &mut TcpStream,
    mut answer: Message,
    framing: Framing,
) -> io::Result<bool> {
    if framing == Framing::UntilEnd {
        answer.set("connection", "close");
    }
    back.write_all(&answer.head())?;
    http::body(store, framing, |piece| send_piece(back, framing, piece))?;
    if framing == Framing::Chunked {
        back.write_all(b"0\r\n\r\n")?;
    }
    Ok(framing != Framing::UntilEnd)
}

/// The answer as far as it comes
fn cut(
    store: &mut Store,
    back: &mut TcpStream,
    mut answer: Message,
    framing: Framing,
    bytes: u64,
    how: Cut,
) -> io::Result<bool> {
    http::body(store, framing, |piece| {
        answer.body.extend_from_slice(piece);
        Ok(())
    })?;
    let whole = answer.body.len();
    answer.body.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
    answer.remove("transfer-encoding");
    answer.remove("content-length");
    match how {
        Cut::Length => return answer.send(back, false).map(|()| true),
        Cut::Chunks => {
            answer.set("transfer-encoding", "chunked");
            back.write_all(&answer.head())?;
            if !answer.body.is_empty() {
                send_piece(back, Framing::Chunked, &answer.body)?;
            }
            return back.write_all(b"0\r\n\r\n").map(|()| true);
        }
        Cut::Unframed => answer.set("connection", "close"),
        Cut::Reset | Cut::Closed => answer.set("content-length", whole.to_string()),
    }
    back.write_all(&answer.head())?;
    back.write_all(&answer.body)?;
    if how == Cut::Reset {
        http::reset(back);
    }
    Ok(false)
}

/// What is said in place of the store's own answer
fn other(
    action: &Action,
    rule: &Rule,
    number: usize,
    request: &Message,
    mut answer: Message,
) -> Message {
    match action {
        Action::Instead(instead) => instead.clone(),
        Action::Answered(change) => {
            change(request, &mut answer);
            answer
        }
        Action::Again(first) if *first == number => {
            lock(&rule.state).kept = Some(answer.clone());
            rule.changed.notify_all();
            answer
        }
        Action::Again(_) => rule.wait_for(|state| state.kept.clone()),
        _ => answer,
    }
}
