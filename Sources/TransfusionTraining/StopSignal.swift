internal import Foundation
internal import Synchronization

/// Remembers that this process was asked to stop, until the training loop comes to a step boundary.
///
/// SIGTERM, SIGUSR1 and SIGINT ask; the second of them ends the process at once.
public enum StopSignal {
    private static let received = Atomic<Int32>(0)

    /// Begins to listen. Call once, before training.
    public static func install() {
        for number in [SIGTERM, SIGUSR1, SIGINT] {
            signal(number) { number in
                // Only what is safe inside a signal handler: an atomic and _exit.
                if StopSignal.received.exchange(number, ordering: .relaxed) != 0 { _exit(128 + number) }
            }
        }
    }

    /// Asks this process to stop, as a first signal does.
    static func request() {
        _ = received.compareExchange(expected: 0, desired: SIGUSR1, ordering: .relaxed)
    }

    /// Whether a signal has asked this process to stop.
    public static var isRequested: Bool { received.load(ordering: .relaxed) != 0 }
}
