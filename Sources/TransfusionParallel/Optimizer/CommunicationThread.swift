internal import Glibc

/// Runs calls one after the other on a thread of its own, beside the computation.
///
/// A blocking call there progresses while this rank computes; Open MPI's non-blocking collectives would not.
///
/// `@unchecked Sendable`: the mutex guards everything that changes.
final class CommunicationThread: @unchecked Sendable {
    private var queue: [() throws -> Void] = []
    private var unfinished = 0
    private var failure: (any Error)?
    private var isStopping = false
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var thread: RankThread?

    init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Queues a call. What it touches belongs to it until `wait()` returns.
    func submit(_ call: @escaping () throws -> Void) {
        locked {
            queue.append(call)
            unfinished += 1
            pthread_cond_broadcast(changed)
        }
        if thread == nil { thread = RankThread { [self] in work() } }
    }

    /// Returns when all calls have run; throws the first failure, after which the calls behind it are dropped.
    func wait() throws {
        try locked {
            while unfinished > 0 { pthread_cond_wait(changed, mutex) }
            defer { failure = nil }
            if let failure { throw failure }
        }
    }

    /// Ends the thread after the call that it is at. Nothing may be submitted afterwards.
    func stop() {
        locked {
            isStopping = true
            pthread_cond_broadcast(changed)
        }
        thread?.join()
        thread = nil
    }

    private func work() {
        while let call = next() {
            var problem: (any Error)?
            do { try call() } catch { problem = error }
            locked {
                failure = failure ?? problem
                if failure != nil {
                    unfinished -= queue.count
                    queue.removeAll()
                }
                unfinished -= 1
                pthread_cond_broadcast(changed)
            }
        }
    }

    private func next() -> (() throws -> Void)? {
        locked {
            while queue.isEmpty && !isStopping { pthread_cond_wait(changed, mutex) }
            return isStopping ? nil : queue.removeFirst()
        }
    }

    private func locked<Result>(_ body: () throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }
}
