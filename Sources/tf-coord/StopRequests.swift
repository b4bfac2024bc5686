import Foundation
import Synchronization

/// Counts the signals that ask the coordinator to stop.
enum StopRequests {
    private static let received = Atomic<Int>(0)

    static func install() {
        for number in [SIGINT, SIGTERM, SIGUSR1] {
            signal(number) { _ in _ = StopRequests.received.add(1, ordering: .relaxed) }
        }
        // The end of a terminal is no wish to stop.
        signal(SIGHUP, SIG_IGN)
        signal(SIGPIPE, SIG_IGN)
    }

    static var count: Int { received.load(ordering: .relaxed) }
}
