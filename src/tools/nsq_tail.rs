//! `nsq_tail`: prints the messages of topics as they come.
//!
//! A message is finished once it is written to standard output, and not before: if that fails, the
//! nsqd delivers it again.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use super::stop_on_signals;
use crate::client::{
    Consumer, ConsumerOptions, Delivery, Name, Rest, Sources, Step, Subscription, log,
};
use crate::config::stop::Stop;
use crate::config::tail::TailOptions;
use crate::config::version::{NSQ_VERSION, SHOAL_VERSION};

const PROGRAM: &str = "nsq_tail";

/// Output is written when so much has gathered, or when no message waits.
const OUTPUT_BYTES: usize = 64 << 10;

/// How long the last `FIN`s may take after `--n` messages.
const LAST_ANSWERS_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs until a signal, or until `--n` messages were shown.
#[must_use]
pub fn run(options: TailOptions) -> ExitCode {
    match tail(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => stop.report(PROGRAM),
    }
}

fn tail(options: &TailOptions) -> Result<(), Stop> {
    let consumer_options = consumer_options(options)?;
    let sources = sources(options).map_err(Stop::Plain)?;
    let subscriptions = subscriptions(options, &consumer_options).map_err(Stop::Plain)?;
    let mut consumer =
        Consumer::start(subscriptions, &sources, consumer_options).map_err(Stop::Plain)?;
    stop_on_signals(consumer.stopper())?;
    let mut printer = Printer::new(options);
    loop {
        match consumer.next() {
            Step::Message(delivery) => {
                let is_last = printer.print(delivery);
                if is_last || printer.output.len() >= OUTPUT_BYTES {
                    printer.commit(&consumer)?;
                }
                if is_last {
                    consumer.stop(Rest::HandBack, LAST_ANSWERS_TIMEOUT);
                }
            }
            Step::Idle => printer.commit(&consumer)?,
            Step::Failed(text) => return Err(Stop::Plain(text)),
            Step::Stopped => return Ok(()),
        }
    }
}

fn consumer_options(options: &TailOptions) -> Result<ConsumerOptions, Stop> {
    let mut consumer_options = ConsumerOptions::default();
    for given in &options.consumer_opts {
        consumer_options.set(given).map_err(|error| {
            Stop::Usage(format!("invalid value {given:?} for flag -consumer-opt: {error}"))
        })?;
    }
    // These two are the tool's own business, whatever --consumer-opt says.
    consumer_options.user_agent = format!("{PROGRAM}/{NSQ_VERSION} shoal/{SHOAL_VERSION}");
    consumer_options.max_in_flight = if options.message_count > 0 {
        // Not to take more from others than will be shown.
        options.max_in_flight.min(options.message_count)
    } else {
        options.max_in_flight
    };
    Ok(consumer_options)
}

fn sources(options: &TailOptions) -> Result<Sources, String> {
    let (nsqds, lookupds) = (&options.nsqd_tcp_addresses, &options.lookupd_http_addresses);
    let sources = match (nsqds.is_empty(), lookupds.is_empty()) {
        (true, true) => Err("--nsqd-tcp-address or --lookupd-http-address required"),
        (false, false) => Err("use --nsqd-tcp-address or --lookupd-http-address not both"),
        (false, true) => Ok(Sources::Nsqds(nsqds.clone())),
        (true, false) => Ok(Sources::Lookupds(lookupds.clone())),
    };
    if options.topics.is_empty() && sources.is_ok() {
        return Err("--topic required".to_owned());
    }
    sources.map_err(str::to_owned)
}

fn subscriptions(
    options: &TailOptions,
    consumer_options: &ConsumerOptions,
) -> Result<Vec<Subscription>, String> {
    let channel =
        if options.channel.is_empty() { random_channel()? } else { options.channel.clone() };
    let check = |topic: &String| {
        log::line(format_args!("Adding consumer for topic: {topic}"));
        consumer_options.validate()?;
        Name::parse(topic.as_bytes()).ok_or("invalid topic name")?;
        Name::parse(channel.as_bytes()).ok_or("invalid channel name")?;
        Ok(Subscription { topic: topic.clone(), channel: channel.clone() })
    };
    options.topics.iter().map(check).collect()
}

/// A channel of our own, which disappears with us.
fn random_channel() -> Result<String, String> {
    let random = getrandom::u32().map_err(|error| format!("no random channel name: {error}"))?;
    Ok(format!("tail{:06}#ephemeral", random % 999_999))
}

/// Gathers output, and finishes messages once they are out.
struct Printer<'a> {
    options: &'a TailOptions,
    output: Vec<u8>,
    unfinished: Vec<Delivery>,
    // By topic, as the original counts.
    printed: Vec<i64>,
}

impl<'a> Printer<'a> {
    fn new(options: &'a TailOptions) -> Printer<'a> {
        let printed = vec![0; options.topics.len()];
        Printer { options, output: Vec::new(), unfinished: Vec::new(), printed }
    }

    /// Takes a message in; true when it is the last one to be shown.
    fn print(&mut self, delivery: Delivery) -> bool {
        if self.options.print_topic {
            self.output.extend_from_slice(self.options.topics[delivery.subscription].as_bytes());
            self.output.extend_from_slice(b" | ");
        }
        self.output.extend_from_slice(&delivery.message.body);
        self.output.push(b'\n');
        let printed = &mut self.printed[delivery.subscription];
        *printed += 1;
        let is_last = self.options.message_count > 0 && *printed >= self.options.message_count;
        self.unfinished.push(delivery);
        is_last
    }

    /// Writes the output, then finishes what was written.
    fn commit(&mut self, consumer: &Consumer) -> Result<(), Stop> {
        let mut stdout = std::io::stdout().lock();
        let written = stdout.write_all(&self.output).and_then(|()| stdout.flush());
        if let Err(error) = written {
            return Err(output_failed(&error));
        }
        self.output.clear();
        self.output.shrink_to(2 * OUTPUT_BYTES);
        for delivery in self.unfinished.drain(..) {
            delivery.finish();
        }
        consumer.flush();
        Ok(())
    }
}

fn output_failed(error: &std::io::Error) -> Stop {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        // The end of a pipeline such as `| head`: end as every program does there, without a word.
        // It returns only if the signal cannot be raised; then the text below says it.
        let _ = signal_hook::low_level::emulate_default_handler(signal_hook::consts::SIGPIPE);
    }
    Stop::Plain(format!("ERROR: failed to write to os.Stdout - {}", log::io_text(error)))
}

#[cfg(test)]
mod tests {
    use super::{Name, TailOptions, consumer_options, random_channel, sources};

    fn options() -> TailOptions {
        TailOptions {
            channel: String::new(),
            consumer_opts: Vec::new(),
            lookupd_http_addresses: Vec::new(),
            max_in_flight: 200,
            message_count: 0,
            nsqd_tcp_addresses: vec!["h:1".to_owned()],
            print_topic: false,
            topics: vec!["t".to_owned()],
        }
    }

    #[test]
    fn mistakes_are_named_in_the_order_of_the_original() {
        let none = Vec::<String>::new;
        let check = |options: TailOptions, text: &str| {
            assert_eq!(sources(&options).unwrap_err(), text);
        };
        let neither = "--nsqd-tcp-address or --lookupd-http-address required";
        check(TailOptions { nsqd_tcp_addresses: none(), topics: none(), ..options() }, neither);
        let both = "use --nsqd-tcp-address or --lookupd-http-address not both";
        check(TailOptions { lookupd_http_addresses: vec!["h:1".into()], ..options() }, both);
        check(TailOptions { topics: none(), ..options() }, "--topic required");
        assert!(sources(&options()).is_ok());
    }

    #[test]
    fn no_more_in_flight_than_will_be_shown() {
        let in_flight = |message_count| {
            let options = TailOptions { message_count, ..options() };
            consumer_options(&options).unwrap().max_in_flight
        };
        assert_eq!((in_flight(0), in_flight(3), in_flight(500)), (200, 3, 200));
    }

    #[test]
    fn the_random_channel_is_a_valid_ephemeral_name() {
        let name = random_channel().unwrap();
        assert!(Name::parse(name.as_bytes()).is_some_and(|name| name.is_ephemeral()), "{name}");
        assert_eq!(name.len(), "tail000000#ephemeral".len());
    }
}
