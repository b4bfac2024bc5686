internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionSupport

/// Draws pictures for prompts and writes them: all of `tf-sample image`.
public struct ImageRequest: Sendable {
    /// Which prompts are drawn.
    public enum Prompts: Sendable, Equatable {
        case one(String)
        /// One prompt a line; empty lines are left out.
        case file(String)
        /// The captions of a data set, held-out ones included; at most `limit` of those trained on.
        case dataset(String, limit: Int?)
    }

    public var model: LoadedModel.Request
    public var prompts: Prompts
    public var settings = ImageSettings()
    /// Picture i uses `seed + i`; below 0, a seed is chosen at random.
    public var seed = 0
    /// A file that ends in `.png` for one prompt, else a directory. Nothing may be there.
    public var output: String
    /// Whether the directory gets `grid.png`, all pictures with their prompts.
    public var makesGrid = false

    public init(model: LoadedModel.Request, prompts: Prompts, output: String) {
        self.model = model
        self.prompts = prompts
        self.output = output
    }

    /// What was drawn.
    public struct Report: Encodable, Sendable {
        public let model: String
        public let output: String
        public let pictures: [PictureRecord]
        /// The sheet or grid, when one was made.
        public let sheet: String?
        public let seconds: Double
        public let secondsPerStep: Double
        public let imagesPerSecond: Double
        /// How many prompts that name a colour got it, of those trained on.
        public let trainedColours: ColourShare?
        /// The same for prompts that were kept out of training.
        public let heldOutColours: ColourShare?

        enum CodingKeys: String, CodingKey {
            case model, output, pictures, sheet, seconds
            case secondsPerStep = "seconds_per_step"
            case imagesPerSecond = "images_per_second"
            case trainedColours = "trained_colours"
            case heldOutColours = "held_out_colours"
        }
    }

    /// How often the dominant colour of a picture is the one that its prompt names.
    public struct ColourShare: Encodable, Sendable, Equatable {
        public let right: Int
        public let total: Int

        /// Nil when no record names a colour.
        init?(_ records: some Sequence<PictureRecord>) {
            let named = records.filter { $0.expectedColour != nil }
            guard !named.isEmpty else { return nil }
            total = named.count
            right = named.count { $0.colour == $0.expectedColour }
        }

        public var description: String {
            "\(right) of \(total) (\(String(format: "%.1f", 100 * Double(right) / Double(total))) %)"
        }
    }

    private var isOneFile: Bool { PictureDirectory.isOneFile(output) }

    /// - Parameter warn: Gets lines for the user, such as a damaged checkpoint that was passed over.
    public func run(warn: (String) -> Void = { _ in }) throws -> Report {
        try check()
        let dataset: PackedDataset? =
            if case .dataset(let path, _) = prompts { try PackedDataset(path) } else { nil }
        let model = try LoadedModel(model, tokenizer: dataset?.tokenizer, warn: warn)
        let coder = try model.pictureCoder()
        let settings = try settings.settings(for: coder)
        let captions = try dataset.map { try DatasetPrompts($0, model, coder, prompts) }
        let wanted = try captions?.prompts ?? readPrompts(model.tokenizer)
        let directory = isOneFile ? nil : try PictureDirectory(output)

        var (drawn, seconds) = try model.pictures(of: wanted, seed: seed, settings, coder, work: "drawing")

        let metadata = PictureMetadata(model: model.name, settings: settings)
        var sheet: String?
        if let directory {
            try captions?.nameColours(of: &drawn)
            try directory.write(drawn, metadata)
            sheet = try writeSheet(drawn, captions, to: directory)
        } else {
            drawn[0].record.file = Paths.name(of: output)
            try PictureDirectory.write(
                drawn[0].picture, text: try metadata.chunks(drawn[0].record, of: drawn[0].picture), to: output)
        }
        let records = drawn.map(\.record)
        return Report(
            model: model.name, output: output, pictures: records, sheet: sheet, seconds: seconds,
            secondsPerStep: seconds / Double(settings.steps), imagesPerSecond: Double(records.count) / seconds,
            trainedColours: ColourShare(records.filter { $0.heldOut != true }),
            heldOutColours: ColourShare(records.filter { $0.heldOut == true }))
    }

    /// Everything that can be refused before the model is loaded.
    private func check() throws {
        if let problem = settings.problem { throw problem }
        let several = if case .one = prompts { false } else { true }
        if isOneFile, !several, makesGrid {
            throw SettingError("grid", "needs a directory for its pictures, not \(output)")
        }
        try PictureDirectory.check(output, several: several)
    }

    private func readPrompts(_ tokenizer: Tokenizer) throws -> [Prompt] {
        switch prompts {
        case .one(let text): return [try Prompt(text, tokenizer)]
        case .file(let path): return try PromptFile.lines(path).map { try Prompt($0, tokenizer) }
        case .dataset: return []
        }
    }

    private func writeSheet(
        _ drawn: [(record: PictureRecord, picture: Picture)], _ captions: DatasetPrompts?,
        to directory: PictureDirectory
    ) throws -> String? {
        guard captions != nil || makesGrid else { return nil }
        let entries = try drawn.indices.map { i in
            ContactSheet.Entry(
                label: drawn[i].record.prompt, note: drawn[i].record.heldOut == true ? "held out" : nil,
                pictures: try (captions?.realPicture(i)).map { [$0, drawn[i].picture] } ?? [drawn[i].picture])
        }
        let path = directory.path + (captions == nil ? "/grid.png" : "/sheet.png")
        try PictureDirectory.write(
            try ContactSheet(entries: entries, columns: captions == nil ? 8 : 4).render(), to: path)
        return path
    }
}

/// A file of prompts, one a line.
enum PromptFile {
    static let limit = 100_000

    static func lines(_ path: String) throws -> [String] {
        let lines = try Files.readText(path, limit: 1 << 24).split(whereSeparator: \.isNewline)
            .map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
        guard !lines.isEmpty else { throw CommandFailure("\(path): holds no prompt; write one a line", .wrongUse) }
        guard lines.count <= limit else {
            throw CommandFailure("\(path): holds \(lines.count) prompts; at most \(limit) are drawn at once", .wrongUse)
        }
        return lines
    }
}

extension Duration {
    var inSeconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
