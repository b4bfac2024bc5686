internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData

/// Continues text, and draws pictures where the model puts them: all of `tf-sample text`.
public struct TextRequest: Sendable {
    public enum Prompts: Sendable, Equatable {
        case one(String)
        /// One prompt a line; empty lines are left out.
        case file(String)
    }

    public var model: LoadedModel.Request
    public var prompts: Prompts
    public var text = TextSettings()
    public var image = ImageSettings()
    /// How many pictures each text may get.
    public var maximumImages = 0
    /// Whether each continuation begins with a picture.
    public var beginsWithImage = false
    /// Text i uses `seed + i`; below 0, a seed is chosen at random.
    public var seed = 0
    /// A directory for the pictures, where nothing may be yet; needed when there can be any.
    public var output: String?

    public init(model: LoadedModel.Request, prompts: Prompts) {
        self.model = model
        self.prompts = prompts
    }

    /// A prompt and what became of it.
    public struct Continuation: Encodable, Sendable, Equatable {
        public let prompt: String
        public let seed: UInt64
        public let parts: [Part]

        /// Either a text or the name of a picture's file.
        public struct Part: Encodable, Sendable, Equatable {
            public var text: String?
            public var image: String?
        }

        /// The prompt and what follows, with the names of pictures in brackets.
        public var readable: String {
            prompt + parts.map { part in part.text ?? "[\(part.image ?? "")]" }.joined(separator: "")
        }
    }

    /// How long the model wrote, without the time to load it.
    public struct Work: Sendable, Equatable {
        public var tokens = 0
        public var seconds = 0.0

        /// As in `128 tokens in 3.20 s, 40.0 tokens/s`.
        public var description: String {
            let rate = seconds > 0 ? Double(tokens) / seconds : 0
            return "\(tokens) tokens in \(Self.decimal(seconds, 2)) s, \(Self.decimal(rate, 1)) tokens/s"
        }

        private static func decimal(_ value: Double, _ places: Int) -> String {
            String(format: "%.\(places)f", value)
        }
    }

    /// - Parameters:
    ///   - warn: Gets lines for the user, such as a damaged checkpoint that was passed over.
    ///   - stream: Gets the text while it is written: each prompt and its continuation, and a line end. Nil for a progress
    ///     line instead. There can be no pictures then.
    ///   - report: Gets how much was written, at the end.
    public func run(
        warn: (String) -> Void = { _ in }, stream: ((String) -> Void)? = nil, report: (Work) -> Void = { _ in }
    ) throws -> [Continuation] {
        precondition(stream == nil || maximumImages == 0, "pictures have no names before they are drawn")
        try check()
        let model = try LoadedModel(model, warn: warn)
        let coder = maximumImages > 0 ? try model.pictureCoder() : nil
        let prompts = try texts().map { try Prompt($0, model.tokenizer) }
        let directory = try output.map { try PictureDirectory($0) }
        let seed = seed < 0 ? UInt64(UInt32.random(in: 0...UInt32.max)) : UInt64(seed)
        if stream == nil, maximumImages == 0, prompts.count > 1 {
            return try writeTogether(prompts, model, seed: seed, report: report)
        }
        var settings = Generator.Continuation()
        settings.text = text
        settings.image = try coder.map { try image.settings(for: $0) } ?? image
        settings.maximumImages = maximumImages
        settings.beginsWithImage = beginsWithImage

        let work = text.maximumTokens + maximumImages * settings.image.steps
        var line = ProgressLine("writing", total: prompts.count * work)
        var done = Work()
        let start = ContinuousClock.now
        var pictures: [(record: PictureRecord, picture: Picture)] = []
        let continuations = try prompts.enumerated().map { index, prompt in
            let seed = seed &+ UInt64(index)
            var written = TextStream(after: prompt.tokens, stops: text.stops, decode: model.tokenizer.decode)
            var streamed = ""
            stream?(prompt.text)
            let parts = try model.generator.continuation(of: [.text(prompt.tokens)], settings, seed: seed) {
                if stream == nil { line.update(index * work + $0) }
            } goesOn: { token in
                done.tokens += 1
                if stream == nil, text.stops.isEmpty { return true }
                let new = try written.add(token)
                streamed += new
                stream?(new)
                return !written.isStopped
            }
            var readable = try Self.readable(parts, after: prompt, model.tokenizer) { image in
                let name = PictureDirectory.name(pictures.count)
                let record = PictureRecord(file: name, prompt: prompt.text, seed: seed)
                if let coder { pictures.append((record, coder.picture(of: image))) }
                return name
            }
            if written.isStopped, let last = readable.last?.text {
                readable[readable.count - 1].text = TextStream.cut(last, before: text.stops)
            }
            // What was held back until it was certain.
            let rest = (readable.last?.text ?? "").unicodeScalars.dropFirst(streamed.unicodeScalars.count)
            stream?(String(rest) + "\n")
            return Continuation(prompt: prompt.text, seed: seed, parts: readable)
        }
        line.clear()
        done.seconds = (ContinuousClock.now - start) / .seconds(1)
        report(done)
        try directory?.write(pictures, PictureMetadata(model: model.name, settings: settings.image))
        return continuations
    }

    private func texts() throws -> [String] {
        switch prompts {
        case .one(let text): [text]
        case .file(let path): try PromptFile.lines(path)
        }
    }

    /// Texts without pictures, several at a time.
    private func writeTogether(
        _ prompts: [Prompt], _ model: LoadedModel, seed: UInt64, report: (Work) -> Void
    ) throws -> [Continuation] {
        var line = ProgressLine("writing", total: prompts.count * text.maximumTokens)
        var done = Work()
        var continuations: [Continuation] = []
        let start = ContinuousClock.now
        for first in stride(from: 0, to: prompts.count, by: Generator.textsAtOnce) {
            let group = Array(prompts[first..<min(first + Generator.textsAtOnce, prompts.count)])
            let seeds = group.indices.map { seed &+ UInt64(first + $0) }
            var written = group.map { TextStream(after: $0.tokens, stops: text.stops, decode: model.tokenizer.decode) }
            let texts = try model.generator.continuations(ofTexts: group.map(\.tokens), text, seeds: seeds) {
                index, token in
                done.tokens += 1
                line.update(done.tokens)
                if text.stops.isEmpty { return true }
                _ = try written[index].add(token)
                return !written[index].isStopped
            }
            for (index, prompt) in group.enumerated() {
                let tokens = texts[index]
                var parts = try Self.readable(tokens.isEmpty ? [] : [.text(tokens)], after: prompt, model.tokenizer) {
                    _ in ""
                }
                if written[index].isStopped, let last = parts.last?.text {
                    parts[parts.count - 1].text = TextStream.cut(last, before: text.stops)
                }
                continuations.append(Continuation(prompt: prompt.text, seed: seeds[index], parts: parts))
            }
        }
        line.clear()
        done.seconds = (ContinuousClock.now - start) / .seconds(1)
        report(done)
        return continuations
    }

    private func check() throws {
        if let problem = text.problem ?? (maximumImages > 0 ? image.problem : nil) { throw problem }
        if !(0...1000).contains(maximumImages) {
            throw SettingError("images", "must lie between 0 and 1000, not \(maximumImages)")
        }
        if beginsWithImage, maximumImages == 0 {
            throw SettingError("images", "must be at least 1 for a text that begins with one")
        }
        if maximumImages > 0, output == nil {
            throw SettingError("out", "is missing; give a new directory for the pictures of the texts")
        }
        if maximumImages == 0, output != nil {
            throw SettingError("images", "must be at least 1 for \(output ?? "") to be written; give more, or no place")
        }
        guard let output else { return }
        if PictureDirectory.looksLikeAFile(output) {
            throw CommandFailure("\(output): pictures in texts need a directory; give the name of one", .wrongUse)
        }
        try PictureDirectory.requireFree(output)
    }

    /// The parts as text and names of files.
    static func readable(
        _ parts: [SequencePart], after prompt: Prompt, _ tokenizer: Tokenizer,
        nameImage: ([Float]) -> String
    ) throws -> [Continuation.Part] {
        var isFirst = true
        return try parts.map { part in
            defer { isFirst = false }
            switch part {
            case .image(let image): return Continuation.Part(image: nameImage(image))
            case .text(let tokens):
                guard isFirst, !prompt.tokens.isEmpty else {
                    return Continuation.Part(text: try tokenizer.decode(tokens))
                }
                // Pieces say where a word begins, but a decoder drops the space before the first: so decode both together.
                let before = try tokenizer.decode(prompt.tokens)
                let whole = try tokenizer.decode(prompt.tokens + tokens)
                return Continuation.Part(
                    text: whole.hasPrefix(before) ? String(whole.dropFirst(before.count)) : try tokenizer.decode(tokens)
                )
            }
        }
    }
}
