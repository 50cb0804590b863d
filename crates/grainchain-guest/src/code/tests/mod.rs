//! The drivers, each run by the real interpreter.

mod bash;
mod javascript;
mod python;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::launch::Language;
use super::wire::{Bundle, Decoder, Event, FRAME_CAP, Frame, Nonce, request};

/// An interpreter whose stdout and stderr are files, so that no test can stop at a full pipe.
struct Context {
    language: Language,
    child: Child,
    requests: Option<ChildStdin>,
    responses: Receiver<Vec<u8>>,
    decoder: Decoder,
    folder: TempDir,
    nonce: Nonce,
}

/// What a cell said.
#[derive(Debug)]
struct Cell {
    result: Option<Bundle>,
    displays: Vec<Bundle>,
    error: Option<(String, String, String)>,
    count: u64,
}

impl Cell {
    fn text(&self) -> String {
        assert!(self.error.is_none(), "{self:?}");
        let bundle = self.result.as_ref().expect("a result");
        String::from_utf8(bundle.get("text/plain").expect("text").to_vec()).expect("UTF-8")
    }

    fn error(&self) -> (&str, &str) {
        let (name, value, _) = self.error.as_ref().expect("an error");
        (name, value)
    }

    fn traceback(&self) -> &str {
        &self.error.as_ref().expect("an error").2
    }
}

impl Context {
    fn start(language: Language) -> Self {
        Self::start_in(language, TempDir::new().expect("a folder"))
    }

    fn start_in(language: Language, folder: TempDir) -> Self {
        Self::start_with(language, folder, None)
    }

    fn start_with(language: Language, folder: TempDir, variable: Option<(&str, &str)>) -> Self {
        // The channel comes as stdin and stdout and is moved to where the driver looks for it.
        let mut command = Command::new("sh");
        // Whoever starts the tests in the background may have had SIGINT ignored, which programs inherit and shells keep.
        // As the guest does when it starts something:
        #[expect(unsafe_code, reason = "the child's first steps cannot be checked by the compiler")]
        // SAFETY: `signal` may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            });
        }
        let mut child = command
            .args(["-c", r#"exec "$@" 3<&0 4>&1 0</dev/null 1>.out 2>.err"#, "sh", language.programs()[0]])
            .args(language.arguments(FRAME_CAP))
            .current_dir(folder.path())
            // Whoever runs the tests may have set it.
            .env_remove("PYTHONUNBUFFERED")
            .envs(variable)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let requests = child.stdin.take();
        let mut pipe = child.stdout.take().expect("the pipe asked for");
        let (sender, responses) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65536];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let decoder = Decoder::new(FRAME_CAP);
        let nonce = Nonce::GREETING;
        let mut context = Self { language, child, requests, responses, decoder, folder, nonce };
        let greeting =
            context.frame().unwrap_or_else(|| panic!("{} must be installed", language.programs()[0]));
        assert!(
            matches!(greeting, Frame { nonce: Nonce::GREETING, event: Event::Ready { .. } }),
            "{greeting:?}"
        );
        context
    }

    /// The next frame, or `None` at the end of the interpreter.
    fn frame(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next().expect("a valid stream") {
                return Some(frame);
            }
            match self.responses.recv_timeout(Duration::from_secs(30)) {
                Ok(bytes) => self.decoder.push(&bytes),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => {
                    panic!("no answer from {}; stderr: {}", self.language.name(), self.err())
                }
            }
        }
    }

    fn send(&mut self, code: &str) {
        fs::write(self.folder.path().join(".out"), "").expect("an empty file");
        fs::write(self.folder.path().join(".err"), "").expect("an empty file");
        self.nonce = Nonce::random().expect("random bytes");
        let bytes = request(self.language, self.nonce, code).expect("code that can be sent");
        self.requests.as_mut().expect("an open pipe").write_all(&bytes).expect("a living interpreter");
    }

    /// The answer to the last request, or `None` if the interpreter ended.
    fn answer(&mut self) -> Option<Cell> {
        let mut cell = Cell { result: None, displays: Vec::new(), error: None, count: 0 };
        loop {
            let frame = self.frame()?;
            assert_eq!(frame.nonce, self.nonce, "{frame:?}");
            match frame.event {
                Event::Result(bundle) => assert!(cell.result.replace(bundle).is_none(), "two results"),
                Event::Display(bundle) => cell.displays.push(bundle),
                Event::Error { name, value, traceback } => {
                    assert!(cell.error.replace((name, value, traceback)).is_none(), "two errors");
                }
                Event::Done { execution_count } => {
                    cell.count = execution_count;
                    return Some(cell);
                }
                Event::Ready { .. } => panic!("a second greeting"),
            }
        }
    }

    fn run(&mut self, code: &str) -> Cell {
        self.send(code);
        self.answer().unwrap_or_else(|| panic!("the interpreter ended in {code:?}; stderr: {}", self.err()))
    }

    /// Runs a cell that prints `waiting`, then never ends by itself, and interrupts it there.
    fn interrupt(&mut self, code: &str) -> Cell {
        self.send(code);
        let deadline = Instant::now() + Duration::from_secs(30);
        while !self.out().contains("waiting") {
            assert!(Instant::now() < deadline, "the cell never started; stderr: {}", self.err());
            std::thread::yield_now();
        }
        // Once is not always enough: a child that is just being started does not get it.
        let ended = loop {
            self.signal();
            match self.responses.recv_timeout(Duration::from_millis(250)) {
                Ok(bytes) => break bytes,
                Err(error) => {
                    assert!(
                        error == RecvTimeoutError::Timeout,
                        "the interpreter ended; stderr: {}",
                        self.err()
                    );
                    assert!(
                        Instant::now() < deadline,
                        "SIGINT has no effect on {code:?}; stderr: {}",
                        self.err()
                    );
                }
            }
        };
        self.decoder.push(&ended);
        self.answer().expect("a living interpreter")
    }

    /// Waits until the running cell has written this, and no more.
    fn awaits_output(&self, expected: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.out() != expected {
            assert!(Instant::now() < deadline, "{:?} instead of {expected:?}", self.out());
            std::thread::yield_now();
        }
    }

    fn signal(&self) {
        let group = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, rustix::process::Signal::INT).expect("a living group");
    }

    fn out(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join(".out")).expect("the output"))
            .trim_matches('\0')
            .into()
    }

    fn err(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.path().join(".err")).expect("the output"))
            .trim_matches('\0')
            .into()
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        let group = rustix::process::Pid::from_child(&self.child);
        let _already_gone = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _already_gone = self.child.wait();
    }
}
