import Foundation
import Synchronization
import TransfusionCore

/// Ranks that are threads of the test process, with the two collectives that checkpoints use.
final class ThreadRank: Collectives {
    let rank: Int
    let size: Int
    private let board: Board

    /// Runs `body` once per rank, each on its own thread, and returns the results in rank order.
    static func run<Value: Sendable>(
        _ size: Int, _ body: @escaping @Sendable (any Collectives) throws -> Value
    ) throws -> [Value] {
        let board = Board()
        let results = Mutex<[Int: Result<Value, any Error>]>([:])
        let group = DispatchGroup()
        for rank in 0..<size {
            group.enter()
            Thread.detachNewThread {
                let result = Result { try body(ThreadRank(rank, size, board)) }
                results.withLock { $0[rank] = result }
                group.leave()
            }
        }
        group.wait()
        return try (0..<size).map { rank in try results.withLock { $0[rank]! }.get() }
    }

    private init(_ rank: Int, _ size: Int, _ board: Board) {
        self.rank = rank
        self.size = size
        self.board = board
    }

    func gather(_ message: [UInt8], root: Int, site: StaticString) -> [[UInt8]] {
        let all = board.exchange(rank, size, message)
        return rank == root ? all : []
    }

    func broadcast(_ message: [UInt8], root: Int, site: StaticString) -> [UInt8] {
        board.exchange(rank, size, message)[root]
    }

    func barrier(site: StaticString) { _ = board.exchange(rank, size, []) }

    func allReduceSum(_ values: UnsafeMutableBufferPointer<Double>, site: StaticString) {
        let all = board.exchange(rank, size, Array(UnsafeRawBufferPointer(values)))
        for index in values.indices {
            values[index] = all.reduce(0) { sum, bytes in
                sum + bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: index * 8, as: Double.self) }
            }
        }
    }

    func allReduceSum(_ values: UnsafeMutableBufferPointer<Float>, site: StaticString) { preconditionFailure() }
    func allReduceMax(_ values: UnsafeMutableBufferPointer<Float>, site: StaticString) { preconditionFailure() }
    func reduceScatterSum(_ values: UnsafeMutableBufferPointer<Float>, offsets: [Int], site: StaticString) {
        preconditionFailure()
    }
    func allGather(_ bytes: UnsafeMutableRawBufferPointer, offsets: [Int], site: StaticString) {
        preconditionFailure()
    }

    /// Where ranks leave messages and wait for those of the others.
    /// `@unchecked Sendable`: everything is touched under `condition` only.
    private final class Board: @unchecked Sendable {
        private let condition = NSCondition()
        private var messages: [Int: [UInt8]] = [:]
        private var last: [[UInt8]] = []
        private var round = 0

        func exchange(_ rank: Int, _ size: Int, _ message: [UInt8]) -> [[UInt8]] {
            condition.lock()
            defer { condition.unlock() }
            let mine = round
            messages[rank] = message
            if messages.count == size {
                last = (0..<size).map { messages[$0]! }
                messages = [:]
                round += 1
                condition.broadcast()
            }
            while round == mine { condition.wait() }
            return last
        }
    }
}
