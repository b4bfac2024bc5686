import Foundation
import Synchronization
import TransfusionSupport

/// Counts the signals that ask the coordinator to stop.
enum StopRequests {
    private static let received = Atomic<Int>(0)

    /// Begins to listen. Call first of all in a command that supervises runs.
    static func install() {
        StopSignals.listen { _ in _ = StopRequests.received.add(1, ordering: .relaxed) }
        signal(SIGPIPE, SIG_IGN)
    }

    static var count: Int { received.load(ordering: .relaxed) }
}
