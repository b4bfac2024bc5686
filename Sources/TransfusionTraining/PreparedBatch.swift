internal import Dispatch
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels

/// A micro-batch with its noise: all that a forward pass needs and that no weight has touched.
struct PreparedBatch: Sendable {
    let layout: RowLayout
    let latents: [Float]  // [images, channels, height, width]
    let noise: [Float]  // the same shape
    let timesteps: [Int32]

    /// The noise and the timestep of an image depend on (seed, step, index of the image in the global batch) only.
    init(_ batch: MicroBatch, step: Int, seed: UInt64) {
        layout = batch.layout
        latents = batch.images
        let imageSize = batch.images.count / max(1, batch.imageIndices.count)
        noise = [Float](unsafeUninitializedCapacity: batch.images.count) { buffer, count in
            for (position, index) in batch.imageIndices.enumerated() {
                let part = UnsafeMutableBufferPointer(
                    rebasing: buffer[position * imageSize..<(position + 1) * imageSize])
                Philox(seed: seed, purpose: .noise, step: step, index: index).fillNormal(part)
            }
            count = batch.images.count
        }
        timesteps = zip(batch.imageIndices, batch.timestepLimits).map { index, limit in
            Int32(Philox(seed: seed, purpose: .timestep, step: step, index: index).integer(below: limit))
        }
    }
}

/// Prepares the next micro-batch on another thread while this one computes.
final class BatchPrefetcher {
    /// Names a micro-batch: which sequences of which step.
    struct Address: Hashable, Sendable {
        let step: Int
        let sequences: Range<Int>
    }

    private let source: BatchSource
    private let seed: UInt64
    private let queue = DispatchQueue(label: "batch preparation")
    private var pending: (address: Address, result: Pending)?

    /// The hand-over of one result; the semaphore orders the write before the read.
    private final class Pending: @unchecked Sendable {
        let isReady = DispatchSemaphore(value: 0)
        var batch: Result<PreparedBatch, DataError>?
    }

    init(_ source: BatchSource, seed: UInt64) {
        self.source = source
        self.seed = seed
    }

    /// The batch at `address`; preparation of the one at `next` begins.
    func take(_ address: Address, next: Address?) throws -> PreparedBatch {
        let result = pending?.address == address ? pending!.result : prepare(address)
        pending = nil
        result.isReady.wait()
        if let next { pending = (next, prepare(next)) }
        guard let batch = result.batch else { preconditionFailure("a prepared batch was announced but not there") }
        return try batch.get()
    }

    private func prepare(_ address: Address) -> Pending {
        let result = Pending()
        queue.async { [source, seed] in
            do throws(DataError) {
                let batch = try source.microBatch(step: address.step, sequences: address.sequences)
                result.batch = .success(PreparedBatch(batch, step: address.step, seed: seed))
            } catch {
                result.batch = .failure(error)
            }
            result.isReady.signal()
        }
        return result
    }
}
