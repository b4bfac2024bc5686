internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels

/// A micro-batch with its noise: all that a forward pass of the Transfusion model needs and that no weight has touched.
struct PreparedBatch: Sendable {
    let layout: RowLayout
    let latents: [Float]  // [images, channels, height, width]
    let noise: [Float]  // the same shape
    let timesteps: [Int32]

    init(layout: RowLayout, latents: [Float], noise: [Float], timesteps: [Int32]) {
        self.layout = layout
        self.latents = latents
        self.noise = noise
        self.timesteps = timesteps
    }

    /// The noise and the timestep of an image depend on (seed, step, index of the image in the global batch) only.
    init(_ batch: MicroBatch, step: Int, seed: UInt64) {
        self.init(
            layout: batch.layout, latents: batch.images,
            noise: Self.noise(batch) { Philox(seed: seed, purpose: .noise, step: step, index: $0) },
            timesteps: zip(batch.imageIndices, batch.timestepLimits).map { index, limit in
                Int32(Philox(seed: seed, purpose: .timestep, step: step, index: index).integer(below: limit))
            })
    }

    /// For measurements that are to be compared: the noise of an image is always the same, and the images take the timesteps
    /// of a grid in turn.
    init(measuring batch: MicroBatch) {
        self.init(
            layout: batch.layout, latents: batch.images,
            noise: Self.noise(batch) { Philox(seed: 0, purpose: .validationNoise, index: $0) },
            timesteps: zip(batch.imageIndices, batch.timestepLimits).map { index, limit in
                Int32(limit * (2 * (index % Self.gridSize) + 1) / (2 * Self.gridSize))
            })
    }

    /// Timesteps of the grid: the middles of so many equal parts of the range.
    static let gridSize = 16

    /// Standard normal numbers, by the index of the image in the global batch.
    private static func noise(_ batch: MicroBatch, _ generator: (_ index: Int) -> Philox) -> [Float] {
        let imageSize = batch.images.count / max(1, batch.imageIndices.count)
        return [Float](unsafeUninitializedCapacity: batch.images.count) { buffer, count in
            for (position, index) in batch.imageIndices.enumerated() {
                let part = UnsafeMutableBufferPointer(
                    rebasing: buffer[position * imageSize..<(position + 1) * imageSize])
                generator(index).fillNormal(part)
            }
            count = batch.images.count
        }
    }
}
