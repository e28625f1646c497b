//! A client that speaks HTTP/1: one request after the other, until somebody has had enough.
//!
//! **Invariant:** a request that was read is answered, and the connection is used again only when
//! it is certain where the next request begins.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode, Version};
use portolan_core::{exchange::ResponseHead, limit::Limit, reason::Reason};
use tokio::time::timeout;

use super::{
    arrived::Arrived,
    body::{Body, Content, Rest, Turn},
    connection::Client,
    interim::Interim,
    rescue::HttpError,
    roster::Notice,
    service,
};
use crate::h1::{
    Awaits, Ending, Framing, HeadLimits, Line, PourError, Poured, RequestHead, Status, Stream,
    WireError, encode_response, is_bodiless,
};

/// How long a client may take to notice that it is not listened to any more, and how much it may
/// send meanwhile: closing at once would reset the connection under the response.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1024 * 1024;
/// How much is read of a body that its backend does not want any more, so that the connection can be kept. As much
/// as Go does.
const SKIPPED_BYTES: usize = 256 * 1024;

/// What of a request matters for its response.
struct Asked {
    method: Method,
    version: Version,
    keep_alive: bool,
}

/// A request that is being answered.
struct Begun {
    asked: Asked,
    // In a box: a connection that waits should be small.
    answering: Answering,
}

type Answering = Pin<Box<dyn Future<Output = (ResponseHead, Body)>>>;

/// What came of waiting for a request.
enum Next {
    Request(Begun),
    /// Not, or not all of, a request.
    Refused(HttpError),
    /// There will be none.
    Nothing,
}

/// Why a request got no answer.
enum Unanswered {
    /// The client did not wait for it.
    Left,
    /// The client was waited for in vain.
    Stalled,
}

/// A response, on its way.
struct Sending<'a> {
    line: &'a RefCell<Line>,
    body: Body,
    framing: Framing,
    /// How much of its content was handed on.
    sent: u64,
    /// Whether its last was written, and waits to be taken.
    has_ended: bool,
}

/// Serves requests until there are no more. What it takes to begin is not carried along: most
/// connections wait, and what they wait with is all that they should cost.
pub(crate) fn serve(
    client: Rc<Client>,
    stream: Stream,
    ahead: Bytes,
) -> impl Future<Output = ()> + use<> {
    let line = Line::new(stream, ahead, client.edge.buffers.clone());
    let line = Rc::new(RefCell::new(line));
    async move {
        let ended = requests(&client, &line).await;
        Box::pin(end(client, line, ended)).await;
    }
}

/// What comes after the last request: a tunnel, or the end.
async fn end(client: Rc<Client>, line: Rc<RefCell<Line>>, ended: io::Result<bool>) {
    line.borrow_mut().forget();
    let tunnel = client.tunnel.take();
    match ended {
        Ok(true) => {
            if let (Some(tunnel), Some(line)) = (tunnel, Rc::into_inner(line)) {
                let (stream, said) = line.into_inner().into_parts();
                tunnel.run(&client, stream, said).await;
            }
        }
        Ok(false) => linger(&line).await,
        Err(error) => {
            tracing::debug!(client.address = %client.peer.address, %error, "connection ended");
        }
    }
}

/// Answers what is no request of this entrypoint, and ends.
pub(crate) async fn turn_away(client: Rc<Client>, stream: Stream, said: Bytes, error: HttpError) {
    let line = RefCell::new(Line::new(stream, said, client.edge.buffers.clone()));
    match refuse(&client, &line, error).await {
        Ok(_is_over) => linger(&line).await,
        Err(error) => {
            tracing::debug!(client.address = %client.peer.address, %error, "connection ended");
        }
    }
}

/// Answers requests. True: HTTP is over, and something else begins.
async fn requests(client: &Rc<Client>, line: &Rc<RefCell<Line>>) -> io::Result<bool> {
    loop {
        let Begun { asked, answering } = match next(client, line).await? {
            Next::Request(begun) => begun,
            Next::Refused(error) => return Box::pin(refuse(client, line, error)).await,
            Next::Nothing => return Ok(false),
        };
        let sending = match answered(client, line, answering).await {
            Ok((head, body)) => send(client, line, &asked, head, body),
            Err(Unanswered::Left) => {
                return Err(io::Error::other("the client left before it was answered"));
            }
            Err(Unanswered::Stalled) => {
                return Box::pin(refuse(client, line, HttpError::Stalled)).await;
            }
        };
        let (ending, rest) = sending.await?;
        if let Some(rest) = rest {
            Box::pin(go_on(client, line, rest, ending)).await?;
        }
        let is_upgrade = ending == Ending::Upgrade;
        let keep = matches!(ending, Ending::Keep | Ending::KeepOld) && line.borrow().is_read();
        if is_upgrade || !keep {
            return Ok(is_upgrade);
        }
    }
}

/// Answers what is not, or not completely, a request. It was the last.
async fn refuse(client: &Client, line: &RefCell<Line>, error: HttpError) -> io::Result<bool> {
    let (head, body) = service::refuse(client, &error);
    send(client, line, &Asked::nothing(), head, body).await?;
    Ok(false)
}

/// The head of the next request.
async fn next(client: &Rc<Client>, line: &Rc<RefCell<Line>>) -> io::Result<Next> {
    let limits = &client.limits;
    let limits = HeadLimits { bytes: limits.max_header_bytes, lines: limits.max_headers };
    poll_fn(|cx| {
        // First whatever has arrived already: a request that was sent is answered.
        let polled = line.borrow_mut().poll_request(cx, limits);
        if let Poll::Ready(read) = polled {
            return Poll::Ready(match read {
                Ok(Some(head)) => Ok(Next::Request(begin(client, line, head))),
                Ok(None) => Ok(Next::Nothing),
                Err(WireError::Head(error)) => Ok(Next::Refused(HttpError::Malformed(error))),
                Err(WireError::Io(error)) => Err(error),
                Err(error) => Err(io::Error::other(error)),
            });
        }
        if line.borrow().has_begun() {
            client.seat.note_reading();
        }
        loop {
            match ready!(client.seat.poll_notice(cx)) {
                // Its next request may be on its way; the roster will not wait for it long.
                Notice::Drain | Notice::Look => {}
                Notice::Expired(limit) => {
                    exceeded(client, limit);
                    // Whoever said nothing is told nothing.
                    return Poll::Ready(Ok(match line.borrow().has_begun() {
                        true => Next::Refused(HttpError::HeaderTimeout),
                        false => Next::Nothing,
                    }));
                }
            }
        }
    })
    .await
}

fn exceeded(client: &Client, limit: Option<Limit>) {
    if let Some(limit) = limit {
        client.door.exceeded(limit);
    }
}

/// Begins to answer.
fn begin(client: &Rc<Client>, line: &Rc<RefCell<Line>>, head: RequestHead) -> Begun {
    let RequestHead { method, uri, version, headers, framing, keep_alive, .. } = head;
    client.note_request();
    let keep_alive = keep_alive && !client.is_last_request();
    let asked = Asked { method: method.clone(), version, keep_alive };
    let body = match framing {
        Framing::Empty => Content::Empty,
        framing => Content::Line(Turn::of(line), framing),
    };
    // HTTP/1.0 knows no interim responses.
    let interim = (version == Version::HTTP_11).then(|| Interim::Line(line.clone()));
    let arrived = Arrived { method, uri, version, headers, interim, fault: None };
    Begun { asked, answering: Box::pin(service::answer(client.clone(), arrived, body)) }
}

/// Waits for the answer, for as long as the client does.
async fn answered(
    client: &Client,
    line: &RefCell<Line>,
    mut answering: Answering,
) -> Result<(ResponseHead, Body), Unanswered> {
    poll_fn(|cx| {
        if let Poll::Ready(answer) = answering.as_mut().poll(cx) {
            return Poll::Ready(Ok(answer));
        }
        if line.borrow_mut().poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Unanswered::Left));
        }
        // The answer will tell which limit it was.
        if ready!(poll_stalled(client, line, cx)).is_gone() {
            return Poll::Ready(Err(Unanswered::Left));
        }
        // Whoever waits for the body learns that, and answers.
        line.borrow_mut().give_up();
        Poll::Ready(match answering.as_mut().poll(cx) {
            Poll::Ready(answer) => Ok(answer),
            Poll::Pending => Err(Unanswered::Stalled),
        })
    })
    .await
}

/// Why a client is not waited for any more.
enum Stalled {
    /// It has kept a request waiting for too long, beyond this limit.
    Beyond(Option<Limit>),
    /// It is gone.
    Gone,
}

impl Stalled {
    fn is_gone(&self) -> bool {
        matches!(self, Self::Gone)
    }
}

/// Whether the client has kept a request waiting for too long, or is gone.
fn poll_stalled(client: &Client, line: &RefCell<Line>, cx: &Context<'_>) -> Poll<Stalled> {
    let (waits, has_moved) = line.borrow_mut().waits();
    client.seat.note_wait(waits, has_moved);
    loop {
        match ready!(client.seat.poll_notice(cx)) {
            // It has moved since that was said, or nothing is expected of it now.
            Notice::Expired(_)
                if has_moved || matches!(waits, Awaits::Nothing | Awaits::Patience) => {}
            Notice::Expired(limit) => return Poll::Ready(Stalled::Beyond(limit)),
            Notice::Look if line.borrow().is_broken() => return Poll::Ready(Stalled::Gone),
            // What is under way is finished.
            Notice::Drain | Notice::Look => {}
        }
    }
}

/// Sends a response. Answers what is to become of the connection, and what is left of the request.
fn send<'a>(
    client: &'a Client,
    line: &'a RefCell<Line>,
    asked: &'a Asked,
    head: ResponseHead,
    mut body: Body,
) -> impl Future<Output = io::Result<(Ending, Option<Box<Rest>>)>> + 'a {
    body.want_rest();
    if !body.is_uploading() {
        // A body that nobody wanted: if it is there already, the next request can be found.
        line.borrow_mut().skip_arrived();
    }
    let ending = asked.ending(client, line, &head, body.is_uploading());
    let framing = asked.framing(&head, &body);
    let ending = if framing == Framing::Close { Ending::Close } else { ending };
    let told = if asked.method == Method::HEAD { body.framing() } else { framing };
    let mut sending = Sending { line, body, framing, sent: 0, has_ended: false };
    let mut head = Some(head);
    poll_fn(move |cx| {
        sending.body.poll_upload(cx);
        let polled = client.edge.buffers.with_output(|output| {
            if let Some(head) = head.take() {
                let status =
                    Status { code: head.status, asked: &asked.method, framing: told, ending };
                encode_response(output, status, &head.headers, Some(|| client.edge.date()));
                client.edge.buffers.maps.give(head.headers);
            }
            sending.poll(cx, output)
        });
        if let Poll::Ready(sent) = polled {
            return Poll::Ready(sent.map(|()| (ending, sending.body.rest())));
        }
        if line.borrow_mut().poll_gone(cx).is_ready() {
            return Poll::Ready(Err(io::Error::other("the client left within its response")));
        }
        match ready!(poll_stalled(client, line, cx)) {
            Stalled::Beyond(limit) => exceeded(client, limit),
            Stalled::Gone => {
                let left = "the client left within its response";
                return Poll::Ready(Err(io::Error::other(left)));
            }
        }
        sending.body.failed(Reason::ClientStalled);
        Poll::Ready(Err(io::Error::other("the client does not read its response")))
    })
}

/// Sends on what is left of a request that has its response, while the client is waited for as before it.
async fn go_on(
    client: &Client,
    line: &RefCell<Line>,
    mut rest: Box<Rest>,
    ending: Ending,
) -> io::Result<()> {
    let _busy = client.seat.begin();
    if ending == Ending::Close {
        // The client may wait for that.
        poll_fn(|cx| line.borrow_mut().poll_shutdown(cx)).await?;
    }
    wait(client, line, |cx| rest.poll(cx)).await?;
    drop(rest);
    // The backend did not want all of it. If little is left the next request can be found behind that.
    line.borrow_mut().forget();
    let mut left = SKIPPED_BYTES;
    wait(client, line, |cx| {
        let mut line = line.borrow_mut();
        while !line.is_read() && left > 0 {
            left = left.saturating_sub(ready!(line.poll_skip(cx)));
        }
        Poll::Ready(())
    })
    .await
}

/// Waits for something, unless the client keeps it waiting for too long.
async fn wait(
    client: &Client,
    line: &RefCell<Line>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<()>,
) -> io::Result<()> {
    poll_fn(|cx| {
        if poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        if let Stalled::Beyond(limit) = ready!(poll_stalled(client, line, cx)) {
            exceeded(client, limit);
        }
        Poll::Ready(Err(io::Error::other("the rest of a request did not come")))
    })
    .await
}

impl Sending<'_> {
    /// Sends on what has arrived, behind what `output` holds already.
    fn poll(&mut self, cx: &mut Context<'_>, output: &mut Vec<u8>) -> Poll<io::Result<()>> {
        loop {
            let mut line = self.line.borrow_mut();
            if self.has_ended {
                return line.poll_flush(cx);
            }
            // What the client does not take is not made more of.
            if !line.is_flushed() {
                if !output.is_empty() {
                    line.write(cx, output)?;
                    output.clear();
                }
                ready!(line.poll_flush(cx))?;
            }
            let mut outlet = line.outlet(output, self.framing);
            let poured = self.body.poll_pour(cx, &mut outlet);
            self.sent += outlet.content;
            if let Poll::Ready(Ok(Poured::End(trailers))) = &poured {
                outlet.end(trailers.as_ref());
            }
            if !matches!(poured, Poll::Ready(Ok(Poured::More))) || !outlet.may_wait() {
                outlet.flush(cx)?;
            }
            match poured {
                Poll::Pending => {
                    ready!(line.poll_flush(cx))?;
                    return Poll::Pending;
                }
                Poll::Ready(Ok(Poured::More)) => {}
                // Whatever came next would be taken for the rest.
                Poll::Ready(Ok(Poured::End(_))) if matches!(self.framing, Framing::Length(all) if all != self.sent) =>
                {
                    return Poll::Ready(Err(io::Error::other("the response is too short")));
                }
                Poll::Ready(Ok(Poured::End(_))) => self.has_ended = true,
                Poll::Ready(Err(PourError::Sink(error))) => return Poll::Ready(Err(error)),
                // The client sees that there is something missing.
                Poll::Ready(Err(PourError::Source(error))) => {
                    return Poll::Ready(Err(io::Error::other(error)));
                }
            }
        }
    }
}

impl Asked {
    /// For a response to something that was not understood.
    fn nothing() -> Self {
        Self { method: Method::GET, version: Version::HTTP_11, keep_alive: false }
    }

    /// What becomes of the connection after the response.
    fn ending(
        &self,
        client: &Client,
        line: &RefCell<Line>,
        head: &ResponseHead,
        is_uploading: bool,
    ) -> Ending {
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return Ending::Upgrade;
        }
        let is_certain = is_uploading || line.borrow().is_read();
        if !self.keep_alive || client.seat.is_draining() || !is_certain {
            return Ending::Close;
        }
        if self.version == Version::HTTP_11 { Ending::Keep } else { Ending::KeepOld }
    }

    fn framing(&self, head: &ResponseHead, body: &Body) -> Framing {
        // What a plugin writes behind a head that has no body would be taken for the next response.
        if self.method == Method::HEAD || is_bodiless(head.status) {
            return Framing::Empty;
        }
        match body.framing() {
            // HTTP/1.0 knows no chunks.
            Framing::Chunked if self.version != Version::HTTP_11 => Framing::Close,
            framing => framing,
        }
    }
}

/// Closes, after the client had time to read what it was sent.
async fn linger(line: &RefCell<Line>) {
    let leaving = pin!(async {
        poll_fn(|cx| line.borrow_mut().poll_shutdown(cx)).await?;
        let mut forgotten = 0;
        while forgotten < LINGER_BYTES {
            match poll_fn(|cx| line.borrow_mut().poll_forget(cx)).await? {
                0 => break,
                length => forgotten += length,
            }
        }
        io::Result::Ok(())
    });
    // However it ends, it ends.
    drop(timeout(LINGER, leaving).await);
}
