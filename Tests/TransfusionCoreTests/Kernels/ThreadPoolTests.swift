import Glibc
import Synchronization
import Testing

@testable import TransfusionCore

@Suite struct ThreadPoolTests {
    @Test(arguments: [1, 2, 3, 8], [0, 1, 2, 7, 64, 1001])
    func rangesCoverEachElementOnce(threads: Int, count: Int) {
        let pool = ThreadPool(threads: threads)
        #expect(pool.threadCount == threads)
        for grain in [1, 5, 2000] {
            let visits = UnsafeMutableBufferPointer<Int>.allocate(capacity: max(count, 1))
            defer { visits.deallocate() }
            visits.update(repeating: 0)
            let ranges = Atomic<Int>(0)
            pool.parallel(count, grain: grain) { range in
                ranges.wrappingAdd(1, ordering: .relaxed)
                for index in range { visits[index] += 1 }
            }
            #expect(visits[..<count].allSatisfy { $0 == 1 })
            #expect(ranges.load(ordering: .relaxed) <= max(1, min(threads, count / grain)))
        }
    }

    @Test(arguments: [1, 2, 5], [0, 1, 3, 500])
    func tasksRunOnceEachWithDistinctThreads(threads: Int, count: Int) {
        let pool = ThreadPool(threads: threads)
        let visits = UnsafeMutableBufferPointer<Int>.allocate(capacity: max(count, 1))
        defer { visits.deallocate() }
        visits.update(repeating: 0)
        let busy = (0..<threads).map { _ in UnsafeMutablePointer<Atomic<Bool>>.allocate(capacity: 1) }
        for flag in busy { flag.initialize(to: Atomic(false)) }
        defer { for flag in busy { flag.deinitialize(count: 1).deallocate() } }
        let collisions = Atomic<Int>(0)
        pool.tasks(count) { task, thread in
            if busy[thread].pointee.exchange(true, ordering: .acquiringAndReleasing) {
                collisions.wrappingAdd(1, ordering: .relaxed)
            }
            visits[task] += 1
            busy[thread].pointee.store(false, ordering: .releasing)
        }
        #expect(visits[..<count].allSatisfy { $0 == 1 })
        #expect(collisions.load(ordering: .relaxed) == 0)
    }

    @Test func rangesAreTheSameEachTime() {
        let pool = ThreadPool(threads: 4)
        func ranges() -> [Range<Int>] {
            let found = Mutex<[Range<Int>]>([])
            pool.parallel(1003) { range in found.withLock { $0.append(range) } }
            return found.withLock { $0 }.sorted { $0.lowerBound < $1.lowerBound }
        }
        let first = ranges()
        #expect(first.count == 4)
        for _ in 0..<50 { #expect(ranges() == first) }
    }

    @Test func nestedCallsRunInlineOnTheirThread() {
        let pool = ThreadPool(threads: 3)
        let total = Atomic<Int>(0)
        let strangers = Atomic<Int>(0)
        pool.parallel(3) { outer in
            let thread = pool.currentThread
            pool.parallel(10) { inner in
                if pool.currentThread != thread || inner.count != 10 { strangers.wrappingAdd(1, ordering: .relaxed) }
                total.wrappingAdd(inner.count * outer.count, ordering: .relaxed)
            }
            pool.tasks(7) { _, innerThread in
                if innerThread != thread { strangers.wrappingAdd(1, ordering: .relaxed) }
                total.wrappingAdd(1, ordering: .relaxed)
            }
        }
        #expect(total.load(ordering: .relaxed) == 3 * 10 + 3 * 7)
        #expect(strangers.load(ordering: .relaxed) == 0)
    }

    @Test func manyTinyRegionsOversubscribed() {
        let pool = ThreadPool(threads: 4 * ThreadPool.availableCPUCount)
        let total = Atomic<Int>(0)
        for _ in 0..<2000 {
            pool.parallel(pool.threadCount) { total.wrappingAdd($0.count, ordering: .relaxed) }
        }
        #expect(total.load(ordering: .relaxed) == 2000 * pool.threadCount)
    }

    @Test func sleepingWorkersWake() throws {
        let pool = ThreadPool(threads: 2)
        for _ in 0..<5 {
            // Longer than the workers spin.
            var pause = timespec(tv_sec: 0, tv_nsec: 3_000_000)
            nanosleep(&pause, nil)
            let total = Atomic<Int>(0)
            pool.parallel(2) { total.wrappingAdd($0.count, ordering: .relaxed) }
            #expect(total.load(ordering: .relaxed) == 2)
        }
    }

    @Test func poolsComeAndGo() {
        for _ in 0..<200 {
            let pool = ThreadPool(threads: 3)
            let total = Atomic<Int>(0)
            pool.parallel(3) { total.wrappingAdd($0.count, ordering: .relaxed) }
            #expect(total.load(ordering: .relaxed) == 3)
        }
    }
}
