//! A log that a test can read.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use lambda_runtime::tracing::subscriber;

#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Keeps what is logged at the default level while this runs.
    pub(crate) fn during<T>(&self, something: impl FnOnce() -> T) -> T {
        let log = self.clone();
        let writer = move || log.clone();
        let subscriber = subscriber::fmt().with_ansi(false).with_writer(writer).finish();
        tracing::subscriber::with_default(subscriber, something)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("the log")).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("the log").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
