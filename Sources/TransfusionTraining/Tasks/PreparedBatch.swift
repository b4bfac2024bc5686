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
        let imageSize = batch.images.count / max(1, batch.imageIndices.count)
        let noise = [Float](unsafeUninitializedCapacity: batch.images.count) { buffer, count in
            for (position, index) in batch.imageIndices.enumerated() {
                let part = UnsafeMutableBufferPointer(
                    rebasing: buffer[position * imageSize..<(position + 1) * imageSize])
                Philox(seed: seed, purpose: .noise, step: step, index: index).fillNormal(part)
            }
            count = batch.images.count
        }
        self.init(
            layout: batch.layout, latents: batch.images, noise: noise,
            timesteps: zip(batch.imageIndices, batch.timestepLimits).map { index, limit in
                Int32(Philox(seed: seed, purpose: .timestep, step: step, index: index).integer(below: limit))
            })
    }
}
