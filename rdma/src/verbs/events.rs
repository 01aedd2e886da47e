//! What a device says of its own accord.

use super::device::Device;
use super::ffi;

/// An asynchronous event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeviceEvent {
    /// The device works no more.
    DeviceFailed,
    /// This queue pair has stopped.
    QueueFailed(u32),
    /// The port with this number went down.
    PortDown(u8),
    /// The port with this number is up again.
    PortUp(u8),
    /// Anything else, by its number.
    Other(u32),
}

/// The next event, if there is one. Never blocks.
pub(super) fn next(device: &Device) -> Option<DeviceEvent> {
    let mut raw = ffi::ibv_async_event::default();
    // SAFETY: the device is open, and its descriptor was made not to block; `raw` is a valid target of the call.
    let got = unsafe { ffi::ibv_get_async_event(device.raw(), &raw mut raw) };
    if got != 0 {
        return None;
    }
    let event = match raw.event_type {
        ffi::IBV_EVENT_DEVICE_FATAL => DeviceEvent::DeviceFailed,
        ffi::IBV_EVENT_QP_FATAL | ffi::IBV_EVENT_QP_REQ_ERR | ffi::IBV_EVENT_QP_ACCESS_ERR => {
            // SAFETY: events of these types name a queue pair, which cannot be destroyed before the event is acknowledged.
            DeviceEvent::QueueFailed(unsafe { (*raw.element.qp).qp_num })
        }
        // SAFETY: events of this type name a port.
        ffi::IBV_EVENT_PORT_ERR => DeviceEvent::PortDown(port(unsafe { raw.element.port_num })),
        // SAFETY: events of this type name a port.
        ffi::IBV_EVENT_PORT_ACTIVE => DeviceEvent::PortUp(port(unsafe { raw.element.port_num })),
        other => DeviceEvent::Other(other),
    };
    // SAFETY: the event was got, and is acknowledged once; else destroying what it names would wait for ever.
    unsafe { ffi::ibv_ack_async_event(&raw mut raw) };
    Some(event)
}

/// Writes down what is not an end.
pub(super) fn log(device: &Device, event: &DeviceEvent) {
    let device = device.name();
    match event {
        DeviceEvent::DeviceFailed => tracing::error!(device, "the RDMA device has failed"),
        DeviceEvent::QueueFailed(_) => tracing::debug!(device, "a queue pair has stopped"),
        DeviceEvent::PortDown(port) => tracing::warn!(device, port, "the RDMA port is down"),
        DeviceEvent::PortUp(port) => tracing::info!(device, port, "the RDMA port is up"),
        DeviceEvent::Other(event) => tracing::debug!(device, event, "an event of the RDMA device"),
    }
}

fn port(number: i32) -> u8 {
    u8::try_from(number).unwrap_or(0)
}
