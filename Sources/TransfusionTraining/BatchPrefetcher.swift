internal import Dispatch

/// Names a micro-batch: which sequences of which step's global batch.
package struct BatchAddress: Hashable, Sendable {
    package let step: Int
    package let sequences: Range<Int>
}

/// Makes the next micro-batch on another thread while this one computes.
final class BatchPrefetcher<Batch: Sendable> {
    private let make: @Sendable (BatchAddress) throws -> Batch
    private let queue = DispatchQueue(label: "batch preparation")
    private var pending: (address: BatchAddress, result: Pending)?

    /// The hand-over of one result; the semaphore orders the write before the read.
    private final class Pending: @unchecked Sendable {
        let isReady = DispatchSemaphore(value: 0)
        var batch: Result<Batch, any Error>?
    }

    init(_ make: @escaping @Sendable (BatchAddress) throws -> Batch) {
        self.make = make
    }

    /// The batch at `address`; preparation of the one at `next` begins.
    func take(_ address: BatchAddress, next: BatchAddress?) throws -> Batch {
        let result = pending?.address == address ? pending!.result : prepare(address)
        pending = nil
        result.isReady.wait()
        if let next { pending = (next, prepare(next)) }
        guard let batch = result.batch else { preconditionFailure("a prepared batch was announced but not there") }
        return try batch.get()
    }

    private func prepare(_ address: BatchAddress) -> Pending {
        let result = Pending()
        queue.async { [make] in
            result.batch = Result { try make(address) }
            result.isReady.signal()
        }
        return result
    }
}
