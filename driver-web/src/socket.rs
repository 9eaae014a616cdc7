//! A browser `WebSocket` as a carrier.

use bytes::Bytes;
use js_sys::{ArrayBuffer, Uint8Array};
use unamed_protocol::{Address, DialError, Disconnect, LinkId};
use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, CloseEvent, Event, MessageEvent, WebSocket};

use crate::driver::{Handle, Happening};

/// Policy violation (RFC 6455, section 7.4.1): what a peer that sends text gets.
const CLOSE_UNSUPPORTED: u16 = 4003;

/// One WebSocket and its handlers.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: WebSocket,
    _opened: Closure<dyn FnMut(Event)>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _closed: Closure<dyn FnMut(CloseEvent)>,
}

impl Socket {
    /// Starts to connect; what comes of it is told to `handle`.
    pub(crate) fn dial(address: &Address, link: LinkId, handle: &Handle) -> Result<Self, DialError> {
        // Throws for what a page may not dial: `ws` from a page that came by https, or a blocked port.
        let socket = WebSocket::new(&address.url()).map_err(|_| DialError::Unsupported)?;
        socket.set_binary_type(BinaryType::Arraybuffer);
        let opened = {
            let handle = handle.clone();
            Closure::new(move |_| handle.tell(Happening::Connected(link)))
        };
        let message = {
            let handle = handle.clone();
            let socket = socket.clone();
            Closure::new(move |event| received(&handle, link, &event, || close(&socket, CLOSE_UNSUPPORTED)))
        };
        let closed = {
            let handle = handle.clone();
            Closure::new(move |event: CloseEvent| {
                let why = if event.was_clean() { Disconnect::Closed } else { Disconnect::Reset };
                handle.tell(Happening::Gone(link, why, DialError::Refused));
            })
        };
        socket.set_onopen(Some(function(&opened)));
        socket.set_onmessage(Some(function(&message)));
        socket.set_onclose(Some(function(&closed)));
        Ok(Self { socket, _opened: opened, _message: message, _closed: closed })
    }

    /// Hands one frame over; whether the browser took it.
    pub(crate) fn send(&self, frame: &[u8]) -> bool {
        self.socket.send_with_u8_array(frame).is_ok()
    }

    /// Bytes that have not left yet.
    pub(crate) fn buffered(&self) -> usize {
        self.socket.buffered_amount() as usize
    }

    /// Sends what was handed over, and closes. Nothing is told any more.
    pub(crate) fn close(self) {
        close(&self.socket, 1000);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.socket.set_onopen(None);
        self.socket.set_onmessage(None);
        self.socket.set_onclose(None);
    }
}

fn close(socket: &WebSocket, code: u16) {
    if socket.close_with_code(code).is_err() {
        let _ = socket.close();
    }
}

/// The function behind a closure.
pub(crate) fn function<T: ?Sized>(closure: &Closure<T>) -> &js_sys::Function {
    closure.as_ref().unchecked_ref()
}

/// Tells of a message: a frame, or a violation if it is text.
pub(crate) fn received(handle: &Handle, link: LinkId, event: &MessageEvent, refuse: impl FnOnce()) {
    match event.data().dyn_into::<ArrayBuffer>() {
        Ok(buffer) => {
            let frame = Bytes::from(Uint8Array::new(&buffer).to_vec());
            handle.tell(Happening::Frame(link, frame));
        }
        Err(_) => {
            refuse();
            handle.tell(Happening::Gone(link, Disconnect::Violation, DialError::NotWebSocket));
        }
    }
}
