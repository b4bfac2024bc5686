internal import Foundation
internal import Synchronization
internal import TransfusionSupport

/// Remembers that this process was asked to stop, until the training loop comes to a step boundary.
///
/// SIGTERM, SIGUSR1, SIGINT and SIGHUP ask. The second of them ends the process at once, unless a coordinator started it:
/// that would take it for a failure, and has ways of its own to end a run at once.
public enum StopSignal {
    private static let received = Atomic<Int32>(0)
    private static let isSupervised = Atomic<Bool>(false)

    /// Begins to listen. Call once, before training.
    public static func install(isSupervised: Bool) {
        self.isSupervised.store(isSupervised, ordering: .relaxed)
        StopSignals.listen { number in
            // Only what is safe inside a signal handler: atomics and _exit.
            if StopSignal.received.exchange(number, ordering: .relaxed) != 0,
                !StopSignal.isSupervised.load(ordering: .relaxed)
            {
                _exit(128 + number)
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
