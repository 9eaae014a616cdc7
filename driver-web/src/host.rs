//! What this crate takes from its surroundings beside sockets: clocks, one timer, and values that scripts can read.
//!
//! The names are those that a page and a worker have in common, so that the crate runs in both.

use js_sys::{Array, Error, Function, JsString, Object, Reflect, Uint8Array};
use unamed_protocol::{Duration, Instant};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
    #[wasm_bindgen(js_namespace = Date, js_name = now)]
    fn date_now() -> f64;
    #[wasm_bindgen(catch, js_name = setTimeout)]
    fn set_timeout(handler: &Function, after_ms: f64) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch, js_name = clearTimeout)]
    fn clear_timeout(id: &JsValue) -> Result<(), JsValue>;
}

/// The monotonic clock.
pub(crate) fn now() -> Instant {
    // Milliseconds since the page began, with a fraction; never negative, and a page does not live for centuries.
    Instant::from_micros((performance_now() * 1000.0) as u64)
}

/// The wall clock, milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> u64 {
    date_now() as u64
}

/// One timer that calls one function.
#[derive(Debug)]
pub(crate) struct Timer {
    handler: Closure<dyn FnMut()>,
    armed: Option<(Instant, JsValue)>,
}

impl Timer {
    pub(crate) fn new(handler: impl FnMut() + 'static) -> Self {
        Self { handler: Closure::new(handler), armed: None }
    }

    /// Calls at `at`, unless it is armed for an earlier time already. A call that comes too early costs a turn of nothing.
    pub(crate) fn arm(&mut self, at: Instant, now: Instant) {
        if self.armed.as_ref().is_some_and(|(armed, _)| *armed <= at && *armed > now) {
            return;
        }
        self.disarm();
        let after = at.since(now).min(Duration::from_secs(3600));
        // Rounded up: a timer that fires a little early would only be set again.
        let after_ms = after.as_micros().div_ceil(1000) as f64;
        if let Ok(id) = set_timeout(self.handler.as_ref().unchecked_ref(), after_ms) {
            self.armed = Some((at, id));
        }
    }

    pub(crate) fn disarm(&mut self) {
        if let Some((_, id)) = self.armed.take() {
            let _ = clear_timeout(&id);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.disarm();
    }
}

/// A promise that is kept when `ms` have passed.
pub(crate) fn after_ms(ms: f64) -> js_sys::Promise {
    js_sys::Promise::new(&mut |resolve, _reject| {
        let _ = set_timeout(&resolve, ms);
    })
}

/// A plain object for scripts.
#[derive(Debug)]
pub(crate) struct Record(Object);

impl Record {
    pub(crate) fn new() -> Self {
        Self(Object::new())
    }

    /// An object whose `type` is `name`.
    pub(crate) fn of(name: &str) -> Self {
        Self::new().with("type", name)
    }

    pub(crate) fn with(self, key: &str, value: impl Into<JsValue>) -> Self {
        // Fails for frozen objects only.
        let _ = Reflect::set(&self.0, &JsValue::from_str(key), &value.into());
        self
    }

    pub(crate) fn bytes(self, key: &str, bytes: &[u8]) -> Self {
        self.with(key, Uint8Array::from(bytes))
    }

    pub(crate) fn list(self, key: &str, values: impl IntoIterator<Item = JsValue>) -> Self {
        self.with(key, values.into_iter().collect::<Array>())
    }

    pub(crate) fn done(self) -> JsValue {
        self.0.into()
    }
}

/// A text for scripts.
pub(crate) fn text(value: &impl ToString) -> JsValue {
    JsValue::from_str(&value.to_string())
}

/// Milliseconds with a fraction.
pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// A text in Unicode's Normalization Form C. Browsers have the tables, which are a tenth of the module's size.
///
/// What is normal does not change with versions of Unicode, but for characters that a version does not know yet.
pub(crate) fn nfc(text: &str) -> String {
    JsString::from(text).normalize("NFC").into()
}

/// An error for scripts, with a stable `code`.
pub(crate) fn failure(code: &str, message: &impl ToString) -> JsValue {
    let error = Error::new(&message.to_string());
    let _ = Reflect::set(&error, &JsValue::from_str("code"), &JsValue::from_str(code));
    error.into()
}
