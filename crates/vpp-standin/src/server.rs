//! The socket: one thread that accepts, one per client.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;

use crate::Fault;
use crate::answers::{answers, hello};
use crate::bytes::Message;
use crate::model::Model;

/// `sockclnt_create`: the one message with a number that every VPP shares.
const CREATE: u16 = 15;

/// Ends with all its connections on drop.
#[derive(Debug)]
pub(crate) struct Server {
    socket: PathBuf,
    stop: Arc<AtomicBool>,
    clients: Arc<Mutex<Vec<Client>>>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Client {
    stream: UnixStream,
    thread: JoinHandle<()>,
}

impl Server {
    pub(crate) fn start(socket: &Path, model: Arc<Mutex<Model>>) -> io::Result<Self> {
        // What a killed one left.
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(socket)?;
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Arc<Mutex<Vec<Client>>> = Arc::default();
        let accepting = {
            let (stop, clients) = (Arc::clone(&stop), Arc::clone(&clients));
            std::thread::spawn(move || {
                for (stream, index) in listener.incoming().zip(1..) {
                    if stop.load(Ordering::Acquire) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    let (Ok(own), model) = (stream.try_clone(), Arc::clone(&model)) else { continue };
                    let thread = std::thread::spawn(move || {
                        // A client that goes away ends its thread; there is nobody to tell.
                        let _gone = serve(own, &model, index | 1 << 31);
                    });
                    clients.lock().push(Client { stream, thread });
                }
            })
        };
        Ok(Self { socket: socket.to_owned(), stop, clients, accepting: Some(accepting) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        let _woken = UnixStream::connect(&self.socket);
        if let Some(thread) = self.accepting.take() {
            let _ended = thread.join();
        }
        for Client { stream, thread } in self.clients.lock().drain(..) {
            let _closed = stream.shutdown(Shutdown::Both);
            let _ended = thread.join();
        }
        let _removed = std::fs::remove_file(&self.socket);
    }
}

/// Connections that a real VPP survives the end of without a word. It keeps them, and at this many it waits for events of them
/// alone for ever.
const UNSAID: usize = 16;

fn serve(mut stream: UnixStream, model: &Mutex<Model>, client: u32) -> io::Result<()> {
    loop {
        let mut header = [0; 16];
        if let Err(error) = stream.read_exact(&mut header) {
            let mut model = model.lock();
            model.unsaid += 1;
            if model.unsaid >= UNSAID {
                model.abuse = Some(format!("{UNSAID} clients have gone without sockclnt_delete"));
            }
            return Err(error);
        }
        let [.., a, b, c, d, _, _, _, _] = header;
        let mut request = vec![0; usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(0)];
        stream.read_exact(&mut request)?;
        let fault = model.lock().fault;
        let goodbye = crate::catalog::number("sockclnt_delete").to_be_bytes();
        let replies = match request.first_chunk() {
            Some(number) if u16::from_be_bytes(*number) == CREATE => {
                vec![hello(model.lock().setup.offer, client)]
            }
            _ => answers(&mut model.lock(), &request, client),
        };
        if model.lock().abuse.is_some() {
            stream.shutdown(Shutdown::Both)?;
        }
        for reply in replies {
            send(&mut stream, reply, fault)?;
        }
        if request.first_chunk() == Some(&goodbye) {
            return stream.shutdown(Shutdown::Both);
        }
    }
}

fn send(stream: &mut UnixStream, mut reply: Message, fault: Fault) -> io::Result<()> {
    match fault {
        Fault::None => stream.write_all(&reply.framed()),
        Fault::Silent => Ok(()),
        Fault::Garbage => {
            // Number and context stay, or nobody would take it for the answer.
            let mut noise = 0x9e37_79b9_u32;
            for byte in reply.0.iter_mut().skip(6) {
                noise ^= noise << 13;
                noise ^= noise >> 17;
                noise ^= noise << 5;
                *byte = noise.to_be_bytes()[0];
            }
            reply.0.extend(noise.to_be_bytes());
            stream.write_all(&reply.framed())
        }
        Fault::Cut => {
            reply.0.truncate(reply.0.len() - 1);
            stream.write_all(&reply.framed())
        }
        Fault::Endless => {
            let mut bytes = reply.framed();
            bytes.splice(8..12, u32::MAX.to_be_bytes());
            stream.write_all(&bytes)
        }
        Fault::Slow => reply.framed().iter().try_for_each(|byte| stream.write_all(&[*byte])),
        Fault::Close => stream.shutdown(Shutdown::Both),
    }
}
