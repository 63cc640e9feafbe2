//! Bytes to commands: incremental, in place, and with the original's checks in its order.
//!
//! Nothing is copied and nothing is allocated. A command that is not whole yet says how many bytes
//! it needs, so that a large body is not looked at again for every piece that arrives.

use core::fmt;

use super::errors::{Quoted, Refusal};
use super::names::Name;
use crate::id;
use crate::limits::{LINE_BYTES_MAX, Options};

/// One command, borrowed from the bytes it was read from.
#[derive(Clone, Debug)]
pub enum Command<'a> {
    /// The JSON body.
    Identify(&'a [u8]),
    /// The secret.
    Auth(&'a [u8]),
    /// Topic and channel, not yet checked: the state comes first.
    Subscribe(Params<'a>),
    /// One message or several for a topic.
    Publish(Publish<'a>),
    /// The parameter, not yet a number.
    Ready(Option<&'a [u8]>),
    /// FIN in its plain form, the id already a number: by far the most frequent answer.
    Finish(u64),
    /// FIN, REQ or TOUCH with its parameters, not yet checked: the state comes first.
    Answer(Verb, Params<'a>),
    /// Wants no more messages.
    Close,
    /// Says that it is there.
    Nothing,
}

impl Command<'_> {
    /// Whether it is answered when all is well.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !matches!(
            self,
            Command::Finish(_) | Command::Answer(..) | Command::Ready(_) | Command::Nothing
        )
    }
}

/// The three answers to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Done with it.
    Finish,
    /// Give it to somebody again.
    Requeue,
    /// More time.
    Touch,
}

impl Verb {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verb::Finish => "FIN",
            Verb::Requeue => "REQ",
            Verb::Touch => "TOUCH",
        }
    }
}

/// PUB, MPUB or DPUB, complete and within the limits.
#[derive(Clone, Debug)]
pub struct Publish<'a> {
    /// Where to.
    pub topic: Name,
    /// `PUB`, `MPUB` or `DPUB`, for error texts.
    pub verb: &'static str,
    /// How long each channel keeps the message back.
    pub delay_ms: u64,
    /// The messages.
    pub messages: Messages<'a>,
}

/// Messages as MPUB has them: a big-endian length before each body.
#[derive(Clone, Copy, Debug)]
pub struct Messages<'a> {
    /// How many.
    pub count: u32,
    /// Lengths and bodies, to the end.
    pub bytes: &'a [u8],
}

impl<'a> Iterator for Messages<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.bytes.split_first_chunk::<4>()?;
        let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.bytes = rest;
        Some(body)
    }
}

/// What is behind a command's name: parameters that single spaces part.
#[derive(Clone, Copy, Debug)]
pub struct Params<'a>(Option<&'a [u8]>);

impl<'a> Params<'a> {
    /// The parameter at `index`; it may be empty.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.0?.split(|&byte| byte == b' ').nth(index)
    }
}

/// What the parser found at the start of the bytes.
#[derive(Debug)]
pub enum Step<'a> {
    /// A command, and the number of bytes it takes.
    Whole(Command<'a>, usize),
    /// Not whole.
    Partial(Partial),
    /// Refused; nothing behind it is looked at.
    Refused(Refused),
}

/// A command that is not whole.
#[derive(Clone, Copy, Debug)]
pub struct Partial {
    /// Try again when there are this many bytes.
    pub needs: usize,
    /// How many it will be in the end if the client is right about it: worth gathering, but not
    /// worth waiting for.
    pub likely: usize,
    /// What has not come.
    pub missing: Missing,
}

impl Partial {
    fn step<'a>(needs: usize, missing: Missing) -> Step<'a> {
        Step::Partial(Partial { needs, likely: needs, missing })
    }
}

/// Why a command was refused, and what it leaves behind.
#[derive(Debug, Default)]
pub struct Refused {
    /// The error frame; `None` for a connection that ends without one.
    pub refusal: Option<Refusal>,
    /// A topic that is created although its MPUB is refused, as the original does.
    pub creates: Option<Name>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused { refusal: Some(refusal), creates: None }
    }
}

/// What of a command has not come. Its text is made only when the client sends no more.
#[derive(Clone, Copy, Debug)]
pub enum Missing {
    /// The rest of the line: such a connection just ends.
    Line,
    /// A part behind the line.
    #[expect(missing_docs, reason = "they are the words of the text, in their order")]
    Part { code: &'static str, verb: &'static str, part: &'static str },
    /// The size of the message with this index in an MPUB.
    MessageSize(u32),
}

impl Missing {
    /// The error frame for a client that sends no more.
    #[must_use]
    pub fn refusal(self) -> Option<Refusal> {
        match self {
            Missing::Line => None,
            Missing::Part { code, verb, part } => {
                Some(Refusal::new(format_args!("{code} {verb} failed to read {part}")))
            }
            Missing::MessageSize(index) => Some(Refusal::new(format_args!(
                "E_BAD_MESSAGE MPUB failed to read message({index}) body size"
            ))),
        }
    }
}

/// How far an MPUB has been checked, so that it is walked through once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    messages: u32,
    bytes: usize,
}

type Found<'a> = Result<Step<'a>, Refused>;

/// What the parser has to know of the client and the broker.
#[derive(Clone, Copy, Debug)]
pub struct Context<'o> {
    /// The client has neither subscribed nor closed: IDENTIFY and AUTH are refused before their
    /// bodies are read otherwise.
    pub fresh: bool,
    /// The topic published to last: most often the next one too, and then not checked again.
    pub last_topic: Option<&'o Name>,
    /// The limits.
    pub options: &'o Options,
}

/// Reads the command that `input` starts with. `progress` starts as default for each command and
/// comes back with each retry.
pub fn parse<'a>(input: &'a [u8], context: Context<'_>, progress: &mut Progress) -> Step<'a> {
    if let Some(id) = plain_finish(input) {
        return Step::Whole(Command::Finish(id), FINISH_BYTES);
    }
    parse_line(input, context, progress).unwrap_or_else(Step::Refused)
}

/// `FIN <id>\n`.
const FINISH_BYTES: usize = 21;

fn plain_finish(input: &[u8]) -> Option<u64> {
    let line = input.first_chunk::<FINISH_BYTES>()?;
    let id = line.strip_prefix(b"FIN ")?.strip_suffix(b"\n")?;
    id::parse(id.first_chunk::<16>()?)
}

fn parse_line<'a>(input: &'a [u8], context: Context<'_>, progress: &mut Progress) -> Found<'a> {
    let window = &input[..input.len().min(LINE_BYTES_MAX)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        if window.len() == LINE_BYTES_MAX {
            return Err(Refused::default());
        }
        return Ok(Partial::step(input.len() + 1, Missing::Line));
    };
    let line = &input[..end];
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (name, params) = match memchr::memchr(b' ', line) {
        Some(space) => (&line[..space], Params(Some(&line[space + 1..]))),
        None => (line, Params(None)),
    };
    let body = Body { input, start: end + 1, context };
    match name {
        b"PUB" => publish(body, params, "PUB"),
        b"MPUB" => multi_publish(body, params, progress),
        b"DPUB" => publish(body, params, "DPUB"),
        b"IDENTIFY" => body.fresh_only("IDENTIFY")?.text("IDENTIFY", Command::Identify),
        b"AUTH" => auth(body.fresh_only("AUTH")?, params),
        _ => plain(name, params).map(|command| Step::Whole(command, end + 1)),
    }
}

/// Commands that are a line and nothing else.
fn plain<'a>(name: &[u8], params: Params<'a>) -> Result<Command<'a>, Refused> {
    Ok(match name {
        b"FIN" => Command::Answer(Verb::Finish, params),
        b"REQ" => Command::Answer(Verb::Requeue, params),
        b"TOUCH" => Command::Answer(Verb::Touch, params),
        b"RDY" => Command::Ready(params.get(0)),
        b"NOP" => Command::Nothing,
        b"CLS" => Command::Close,
        b"SUB" => Command::Subscribe(params),
        _ => {
            return Err(Refusal::new(format_args!("E_INVALID invalid command ")).echo(name).into());
        }
    })
}

/// A topic name, or the refusal of `verb`. `code` is written twice by MPUB.
fn topic(
    params: Params<'_>,
    last: Option<&Name>,
    (verb, code): (&str, &str),
) -> Result<Name, Refused> {
    let Some(raw) = params.get(0) else {
        return Err(too_few(verb).into());
    };
    if let Some(last) = last.filter(|last| last.as_bytes() == raw) {
        return Ok(*last);
    }
    Name::parse(raw).ok_or_else(|| {
        let name = Quoted(raw);
        Refusal::new(format_args!("{code} {verb} topic name {name} is not valid")).into()
    })
}

/// The refusal of a publish or SUB that lacks a parameter.
#[must_use]
pub fn too_few(verb: &str) -> Refusal {
    Refusal::new(format_args!("E_INVALID {verb} insufficient number of parameters"))
}

fn publish<'a>(body: Body<'a, '_>, params: Params<'a>, verb: &'static str) -> Found<'a> {
    let mut delay_ms = 0;
    if verb == "DPUB" && params.get(1).is_none() {
        return Err(too_few(verb).into());
    }
    let topic = topic(params, body.context.last_topic, (verb, "E_BAD_TOPIC"))?;
    if verb == "DPUB" {
        delay_ms = delay(params.get(1).unwrap_or_default(), body.context.options)?;
    }
    let missing = |part| Missing::Part { code: "E_BAD_MESSAGE", verb, part };
    let size = match body.size(body.start) {
        Ok(size) => size,
        Err(need) => return Ok(Partial::step(need, missing("message body size"))),
    };
    let max = body.context.options.max_msg_bytes;
    if size <= 0 {
        let text = format_args!("E_BAD_MESSAGE {verb} invalid message body size {size}");
        return Err(Refusal::new(text).into());
    }
    if i64::from(size) > max {
        let text = format_args!("E_BAD_MESSAGE {verb} message too big {size} > {max}");
        return Err(Refusal::new(text).into());
    }
    let end = body.start + 4 + size as usize;
    let Some(bytes) = body.input.get(body.start..end) else {
        return Ok(Partial::step(end, missing("message body")));
    };
    let messages = Messages { count: 1, bytes };
    Ok(Step::Whole(Command::Publish(Publish { topic, verb, delay_ms, messages }), end))
}

/// DPUB's delay. The original multiplies into nanoseconds before it looks at the range.
fn delay(raw: &[u8], options: &Options) -> Result<u64, Refused> {
    let Some(value) = number(raw) else {
        let text = format_args!("E_INVALID DPUB could not parse timeout ");
        return Err(Refusal::new(text).echo(raw).into());
    };
    let delay_ms = milliseconds(value);
    let max = options.max_defer_ms;
    if delay_ms < 0 || delay_ms > max {
        let text = format_args!("E_INVALID DPUB timeout {value} out of range 0-{max}");
        return Err(Refusal::new(text).into());
    }
    Ok(delay_ms.unsigned_abs())
}

fn multi_publish<'a>(body: Body<'a, '_>, params: Params<'a>, progress: &mut Progress) -> Found<'a> {
    let code = "E_BAD_TOPIC E_BAD_TOPIC";
    let topic = topic(params, body.context.last_topic, ("MPUB", code))?;
    match check_messages(body, progress) {
        Ok((count, end)) => {
            let bytes = &body.input[body.start + 8..end];
            let messages = Messages { count, bytes };
            let publish = Publish { topic, verb: "MPUB", delay_ms: 0, messages };
            Ok(Step::Whole(Command::Publish(publish), end))
        }
        Err(Lack::More(needs, missing)) => {
            let declared = body.size(body.start).map_or(0, |size| size.max(0) as usize);
            let likely = needs.max(body.start + 4 + declared);
            Ok(Step::Partial(Partial { needs, likely, missing }))
        }
        Err(Lack::Bad(refusal)) => Err(Refused { refusal: Some(refusal), creates: Some(topic) }),
    }
}

/// The topic of an unfinished MPUB.
#[must_use]
pub fn multi_publish_topic(input: &[u8]) -> Option<Name> {
    let rest = input.strip_prefix(b"MPUB ")?;
    let line = &rest[..memchr::memchr(b'\n', rest)?];
    let params = Params(Some(line.strip_suffix(b"\r").unwrap_or(line)));
    topic(params, None, ("MPUB", "")).ok()
}

enum Lack {
    More(usize, Missing),
    Bad(Refusal),
}

/// Walks over the messages of an MPUB; gives their number and where they end.
///
/// Like the original it believes the count and the sizes, not the size of the whole, which is
/// only checked against the limit. Unlike it, what the messages add up to is held to the same
/// limit: the connection would otherwise keep any amount in memory.
fn check_messages(body: Body<'_, '_>, progress: &mut Progress) -> Result<(u32, usize), Lack> {
    let Options { max_body_bytes, max_msg_bytes, .. } = *body.context.options;
    let bad = |text: fmt::Arguments<'_>| Lack::Bad(Refusal::new(text));
    let missing = |code, part| Missing::Part { code, verb: "MPUB", part };
    let lacks_size = |need| Lack::More(need, missing("E_BAD_BODY", "body size"));
    let size = body.size(body.start).map_err(lacks_size)?;
    if size <= 0 {
        return Err(bad(format_args!("E_BAD_BODY MPUB invalid body size {size}")));
    }
    if i64::from(size) > max_body_bytes {
        return Err(bad(format_args!("E_BAD_BODY MPUB body too big {size} > {max_body_bytes}")));
    }
    let lacks_count = |need| Lack::More(need, missing("E_BAD_BODY", "message count"));
    let count = body.size(body.start + 4).map_err(lacks_count)?;
    if count <= 0 || i64::from(count) > body.context.options.mpub_count_max() {
        return Err(bad(format_args!("E_BAD_BODY MPUB invalid message count {count}")));
    }
    let messages_start = body.start + 8;
    while progress.messages < count.unsigned_abs() {
        let index = progress.messages;
        let at = messages_start + progress.bytes;
        let size = body.size(at).map_err(|need| Lack::More(need, Missing::MessageSize(index)))?;
        if size <= 0 {
            return Err(bad(format_args!(
                "E_BAD_MESSAGE MPUB invalid message({index}) body size {size}"
            )));
        }
        if i64::from(size) > max_msg_bytes {
            return Err(bad(format_args!(
                "E_BAD_MESSAGE MPUB message too big {size} > {max_msg_bytes}"
            )));
        }
        let end = at + 4 + size as usize;
        let whole = end - messages_start + 4;
        if i64::try_from(whole).is_ok_and(|whole| whole > max_body_bytes) && index > 0 {
            return Err(bad(format_args!(
                "E_BAD_BODY MPUB body too big {whole} > {max_body_bytes}"
            )));
        }
        if end > body.input.len() {
            return Err(Lack::More(end, missing("E_BAD_MESSAGE", "message body")));
        }
        *progress = Progress { messages: index + 1, bytes: end - messages_start };
    }
    Ok((count.unsigned_abs(), messages_start + progress.bytes))
}

fn auth<'a>(body: Body<'a, '_>, params: Params<'a>) -> Found<'a> {
    if params.0.is_some() {
        let text = format_args!("E_INVALID AUTH invalid number of parameters");
        return Err(Refusal::new(text).into());
    }
    body.text("AUTH", Command::Auth)
}

/// The part of a command behind its line.
#[derive(Clone, Copy)]
struct Body<'a, 'o> {
    input: &'a [u8],
    start: usize,
    context: Context<'o>,
}

impl<'a> Body<'a, '_> {
    /// The signed number at `at`, or how many bytes of input it needs.
    fn size(&self, at: usize) -> Result<i32, usize> {
        let bytes = self.input.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map(|bytes| i32::from_be_bytes(*bytes)).ok_or(at + 4)
    }

    /// Refuses a command that only a client without subscription may send.
    fn fresh_only(self, verb: &str) -> Result<Self, Refused> {
        if self.context.fresh {
            return Ok(self);
        }
        Err(Refusal::new(format_args!("E_INVALID cannot {verb} in current state")).into())
    }

    /// The body of IDENTIFY or AUTH.
    fn text(self, verb: &'static str, command: fn(&'a [u8]) -> Command<'a>) -> Found<'a> {
        let max = self.context.options.max_body_bytes;
        let missing = |part| Missing::Part { code: "E_BAD_BODY", verb, part };
        let size = match self.size(self.start) {
            Ok(size) => size,
            Err(need) => return Ok(Partial::step(need, missing("body size"))),
        };
        if i64::from(size) > max {
            let text = format_args!("E_BAD_BODY {verb} body too big {size} > {max}");
            return Err(Refusal::new(text).into());
        }
        if size <= 0 {
            let text = format_args!("E_BAD_BODY {verb} invalid body size {size}");
            return Err(Refusal::new(text).into());
        }
        let end = self.start + 4 + size as usize;
        match self.input.get(self.start + 4..end) {
            Some(body) => Ok(Step::Whole(command(body), end)),
            None => Ok(Partial::step(end, missing("body"))),
        }
    }
}

/// A number in a command line: digits only, empty is 0, wrapping at 2^64 (NSQ).
#[must_use]
pub fn number(raw: &[u8]) -> Option<u64> {
    raw.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(value.wrapping_mul(10).wrapping_add(digit))
    })
}

/// Milliseconds of a command line after the original's detour over 64-bit nanoseconds: values
/// that overflow there may come out negative.
#[must_use]
pub fn milliseconds(value: u64) -> i64 {
    value.cast_signed().wrapping_mul(1_000_000).div_euclid(1_000_000)
}
