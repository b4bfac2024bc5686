internal import Foundation

/// Wakes a thread that waits between two turns of its work, and tells it when to end.
///
/// Its waits are measured by the monotonic clock: those of `DispatchSemaphore` end at a time of day on Linux, and last for
/// an hour when somebody sets the clock back by an hour.
///
/// `@unchecked Sendable`: what changes is touched only between lock and unlock of `mutex`.
final class Bell: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var rings = 0
    private var isEnding = false
    private var hasEnded = false

    init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    func ring() {
        change { rings += 1 }
    }

    /// Waits until the time is over or somebody rings.
    /// - Returns: Whether the thread shall end.
    func waitForEnd(atMost interval: Duration) -> Bool {
        wait(atMost: interval) { rings > 0 }
        return change {
            rings = max(0, rings - 1)
            return isEnding
        }
    }

    func confirmEnd() {
        change { hasEnded = true }
    }

    /// Asks the thread to end, and waits until it has confirmed that.
    func ringForEnd(atMost interval: Duration) {
        change {
            isEnding = true
            rings += 1
        }
        wait(atMost: interval) { hasEnded }
    }

    @discardableResult
    private func change<Result>(_ body: () -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer {
            pthread_cond_broadcast(changed)
            pthread_mutex_unlock(mutex)
        }
        return body()
    }

    private func wait(atMost interval: Duration, until holds: () -> Bool) {
        var end = timespec()
        clock_gettime(CLOCK_MONOTONIC, &end)
        let nanoseconds = end.tv_nsec + Int(interval.components.attoseconds / 1_000_000_000)
        end.tv_sec += Int(interval.components.seconds) + nanoseconds / 1_000_000_000
        end.tv_nsec = nanoseconds % 1_000_000_000
        pthread_mutex_lock(mutex)
        while !holds(), pthread_cond_timedwait(changed, mutex, &end) != ETIMEDOUT {}
        pthread_mutex_unlock(mutex)
    }
}
