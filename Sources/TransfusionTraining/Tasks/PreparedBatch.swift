internal import TransfusionCore
internal import TransfusionData
package import TransfusionModels

/// A micro-batch with its noise: all that a forward pass of the Transfusion model needs and that no weight has touched.
package struct PreparedBatch: Sendable {
    package let layout: RowLayout
    let latents: [Float]  // [images, channels, height, width]
    let noise: [Float]  // the same shape
    let timesteps: [Int32]
    /// Whether each image is only shown to the model; empty where none is.
    let isClean: [Bool]

    package init(
        layout: RowLayout, latents: [Float], noise: [Float], timesteps: [Int32], isClean: [Bool] = []
    ) {
        self.layout = layout
        self.latents = latents
        self.noise = noise
        self.timesteps = timesteps
        self.isClean = isClean
    }

    /// The noise and the timestep of an image depend on (seed, step, index of the image in the global batch) only.
    init(_ batch: MicroBatch, step: Int, seed: UInt64) {
        self.init(
            layout: batch.layout, latents: batch.images,
            noise: Self.noise(batch) { Philox(seed: seed, purpose: .noise, step: step, index: $0) },
            timesteps: zip(batch.imageIndices, batch.timestepLimits).map { index, limit in
                limit == 0
                    ? 0 : Int32(Philox(seed: seed, purpose: .timestep, step: step, index: index).integer(below: limit))
            }, isClean: Self.isClean(batch))
    }

    /// For measurements that are to be compared: the noise of an image is always the same, and the images take the timesteps
    /// of a grid in turn.
    init(measuring batch: MicroBatch) {
        self.init(
            layout: batch.layout, latents: batch.images,
            noise: Self.noise(batch) { Philox(seed: 0, purpose: .validationNoise, index: $0) },
            timesteps: zip(batch.imageIndices, batch.timestepLimits).map { index, limit in
                Int32(limit * (2 * (index % Self.gridSize) + 1) / (2 * Self.gridSize))
            }, isClean: Self.isClean(batch))
    }

    private static func isClean(_ batch: MicroBatch) -> [Bool] {
        batch.timestepLimits.contains(0) ? batch.timestepLimits.map { $0 == 0 } : []
    }

    /// Timesteps of the grid: the middles of so many equal parts of the range.
    static let gridSize = 16

    /// Standard normal numbers, by the index of the image in the global batch; zeros for an image that is only shown.
    private static func noise(_ batch: MicroBatch, _ generator: (_ index: Int) -> Philox) -> [Float] {
        let imageSize = batch.images.count / max(1, batch.imageIndices.count)
        return [Float](unsafeUninitializedCapacity: batch.images.count) { buffer, count in
            for (position, index) in batch.imageIndices.enumerated() {
                let part = UnsafeMutableBufferPointer(
                    rebasing: buffer[position * imageSize..<(position + 1) * imageSize])
                if batch.timestepLimits[position] == 0 {
                    part.initialize(repeating: 0)
                } else {
                    generator(index).fillNormal(part)
                }
            }
            count = batch.images.count
        }
    }
}
