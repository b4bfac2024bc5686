internal import TransfusionCheckpoint
internal import TransfusionCore
internal import TransfusionModels

extension ForwardEvaluation {
    /// A batch that says everything: which rows there are, and with which noise at which timestep the images come.
    ///
    /// | tensor | type | shape | |
    /// |---|---|---|---|
    /// | `tokens` | i32 | [T] | −1 at patches |
    /// | `document_starts` | i32 | [D] | ascending from 0 |
    /// | `image_starts` | i32 | [N] | the first patch of each image |
    /// | `latents`, `noise` | f32 | [N, C, H, W] | x0 and ε |
    /// | `timesteps` | i32 | [N] | 0-based |
    ///
    /// The last four may be left out of a batch without images. `sequence_length` (i32, [1]) is read when documents of
    /// a sequence attend to each other.
    struct Batch {
        let layout: RowLayout
        private let latents: [Float]
        private let noise: [Float]
        private let timesteps: [Int32]
        private let schedule = NoiseSchedule()

        private static let known: Set = [
            "tokens", "document_starts", "image_starts", "latents", "noise", "timesteps", "sequence_length",
        ]

        init(_ file: SafetensorsFile, for configuration: ModelConfiguration) throws {
            func fail(_ problem: String) -> CheckpointError { CheckpointError(file.path, problem) }
            if let unknown = file.entries.first(where: { !Self.known.contains($0.name) }) {
                throw fail("has the unknown tensor \(unknown.name)")
            }
            func integers(_ name: String) throws -> [Int32] {
                guard try file.entry(name).shape.count == 1 else { throw fail("tensor \(name) must have one axis") }
                return try file.elements(name, as: .i32)
            }
            let tokens = try integers("tokens")
            guard !tokens.isEmpty else { throw fail("has no rows: tokens is empty") }
            for (row, token) in tokens.enumerated() where token < -1 || Int(token) >= configuration.vocabulary {
                throw fail(
                    "tokens[\(row)] is \(token); a token lies below the vocabulary of \(configuration.vocabulary), "
                        + "and -1 marks a patch")
            }
            let starts = file["image_starts"] == nil ? [] : try integers("image_starts")
            guard starts.isEmpty || configuration.images == .diffusion else {
                throw fail(
                    configuration.images == .none
                        ? "has images, and the model has none (model.images: none)"
                        : "has images of patches, and those of the model are tokens (model.images: tokens)")
            }
            let length = file["sequence_length"] == nil ? nil : try integers("sequence_length")
            if let length, length.count != 1 || length[0] < 1 {
                throw fail("sequence_length must be one number above 0")
            }
            do {
                layout = try RowLayout(
                    configuration, tokens: tokens, documentStarts: try integers("document_starts"), imageStarts: starts,
                    sequenceLength: length.map { Int($0[0]) })
            } catch let error as RowLayoutError {
                throw fail("is no batch: \(error)")
            }
            guard !starts.isEmpty else {
                (latents, noise, timesteps) = ([], [], [])
                return
            }
            let shape = [
                starts.count, configuration.imageChannels, configuration.imageHeight, configuration.imageWidth,
            ]
            func images(_ name: String) throws -> [Float] {
                let entry = try file.entry(name)
                guard entry.shape == shape else {
                    throw fail("tensor \(name) has the shape \(entry.shape), not the expected \(shape)")
                }
                return try file.elements(name, as: .f32)
            }
            latents = try images("latents")
            noise = try images("noise")
            timesteps = try integers("timesteps")
            guard timesteps.count == starts.count else {
                throw fail("has \(timesteps.count) timesteps for \(starts.count) images")
            }
            for (image, timestep) in timesteps.enumerated() where !(0..<schedule.timesteps).contains(Int(timestep)) {
                throw fail("timesteps[\(image)] is \(timestep); timesteps lie in 0 … \(schedule.timesteps - 1)")
            }
        }

        /// Nil without images.
        func noisedImages(_ configuration: ModelConfiguration, _ context: Context) -> NoisedImages? {
            guard layout.imageCount > 0 else { return nil }
            return NoisedImages(
                latents: latents, noise: noise, timesteps: timesteps, schedule: schedule, configuration: configuration,
                context)
        }

        func imageShape(_ configuration: ModelConfiguration) -> [Int] {
            [layout.imageCount, configuration.imageChannels, configuration.imageHeight, configuration.imageWidth]
        }
    }
}
