internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels

/// Says what pictures show: all of `tf-sample caption`.
public struct CaptionRequest: Sendable {
    public var model: LoadedModel.Request
    /// PNG, JPEG or WebP files.
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
        if let problem = text.problem { throw CommandFailure(problem, .wrongUse) }
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
        try model.requirePictures()
        let seed = seed < 0 ? UInt64(UInt32.random(in: 0...UInt32.max)) : UInt64(seed)
        var settings = Generator.Continuation()
        settings.text = text
        var line = ProgressLine("describing", total: pictures.count * text.maximumTokens)
        let captions = try pictures.enumerated().map { index, path in
            let image = Self.image(of: try PictureFile.read(path), for: model.archive.configuration)
            let parts = try model.generator.continuation(
                of: [.image(image)], settings, seed: seed &+ UInt64(index)
            ) { line.update(index * text.maximumTokens + $0) }
            let tokens = parts.flatMap { part -> [Int32] in
                if case .text(let tokens) = part { tokens } else { [] }
            }
            return Caption(file: path, caption: try model.tokenizer.decode(tokens))
        }
        line.clear()
        return captions
    }

    /// The middle of a picture in the model's proportions and size, in −1 … 1.
    static func image(of picture: Picture, for configuration: ModelConfiguration) -> [Float] {
        let width = configuration.imageWidth, height = configuration.imageHeight
        var middle = picture
        if picture.width * height != picture.height * width {
            let cutWidth = max(1, min(picture.width, picture.height * width / height))
            let cutHeight = max(1, min(picture.height, picture.width * height / width))
            middle = Picture(width: cutWidth, height: cutHeight)
            middle.draw(picture, x: -(picture.width - cutWidth) / 2, y: -(picture.height - cutHeight) / 2)
        }
        if middle.width != width || middle.height != height { middle = middle.resized(width: width, height: height) }
        return middle.planes.map { Float($0) / 127.5 - 1 }
    }
}
