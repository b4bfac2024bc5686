internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels

/// Says what pictures show: all of `tf-sample caption`.
public struct CaptionRequest: Sendable {
    public var model: LoadedModel.Request
    /// PNG, JPEG, WebP or GIF files.
    public var pictures: [String]
    public var text = TextSettings()
    /// Caption i uses `seed + i`; below 0, a seed is chosen at random.
    public var seed = 0

    public init(model: LoadedModel.Request, pictures: [String]) {
        self.model = model
        self.pictures = pictures
    }

    public struct Caption: Encodable, Sendable, Equatable {
        public let file: String
        public let caption: String
    }

    /// - Parameter warn: Gets lines for the user, such as a damaged checkpoint that was passed over.
    public func run(warn: (String) -> Void = { _ in }) throws -> [Caption] {
        if let problem = text.problem { throw problem }
        // Before the model is loaded; the pictures themselves are read one by one.
        let problems = pictures.compactMap { path -> String? in
            do throws(DataError) {
                try PictureFile.check(path)
                return nil
            } catch {
                return error.description
            }
        }
        guard problems.isEmpty else { throw CommandFailure(problems, .failure) }
        let model = try LoadedModel(model, warn: warn)
        let coder = try model.pictureCoder()
        let seed = seed < 0 ? UInt64(UInt32.random(in: 0...UInt32.max)) : UInt64(seed)
        var line = ProgressLine("describing", total: pictures.count * text.maximumTokens)
        let captions = try pictures.enumerated().map { index, path in
            let image = coder.image(of: try PictureFile.read(path))
            let tokens = try model.generator.caption(of: image, text, seed: seed &+ UInt64(index)) {
                line.update(index * text.maximumTokens + $0)
            }
            return Caption(file: path, caption: try model.tokenizer.decode(tokens))
        }
        line.clear()
        return captions
    }
}
