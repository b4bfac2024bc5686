import Foundation
import TransfusionConfig
import TransfusionData
import TransfusionSupport

/// Compares captions with those that people wrote: all of `tf-eval cider`.
public struct CaptionEvaluation: Sendable {
    /// COCO's annotations, `{"annotations": [{"image_id", "caption"}]}`, or that list alone; several captions an image.
    public var references: String
    /// COCO's results, `[{"image_id", "caption"}]`; one caption an image.
    public var candidates: String
    /// A file for the words of each candidate, one JSON object a line.
    public var words: String?

    public init(references: String, candidates: String) {
        self.references = references
        self.candidates = candidates
    }

    public struct Report: Encodable, Sendable, Equatable {
        public let scores: CaptionScores
        /// Images with a candidate: those that were compared.
        public let images: Int
        public let references: Int
        /// Images with references that have no candidate, and were left out.
        public let imagesWithoutCandidate: Int

        enum CodingKeys: String, CodingKey {
            case images, references
            case imagesWithoutCandidate = "images_without_candidate"
        }

        public func encode(to encoder: any Encoder) throws {
            try scores.encode(to: encoder)
            var values = encoder.container(keyedBy: CodingKeys.self)
            try values.encode(images, forKey: .images)
            try values.encode(references, forKey: .references)
            try values.encode(imagesWithoutCandidate, forKey: .imagesWithoutCandidate)
        }
    }

    /// - Throws: One line that names the file and the image.
    public func run() throws -> Report {
        let known = Dictionary(grouping: try Self.read(references), by: \.image)
        let candidates = try Self.read(self.candidates)
        var seen: Set<ImageName> = []
        for candidate in candidates {
            guard known[candidate.image] != nil else {
                throw CommandFailure(
                    "\(self.candidates): image \(candidate.image) has no reference in \(references); "
                        + "take it out, or give the references of the same images")
            }
            guard seen.insert(candidate.image).inserted else {
                throw CommandFailure(
                    "\(self.candidates): image \(candidate.image) has two captions; one can be compared")
            }
        }
        var line = ProgressLine("comparing captions", total: candidates.count)
        let images = candidates.enumerated().map { index, candidate in
            line.update(index)
            return CaptionScores.Image(
                candidate: PTBTokenizer.words(candidate.caption),
                references: known[candidate.image, default: []].map { PTBTokenizer.words($0.caption) })
        }
        line.clear()
        if let words { try write(zip(candidates, images).map { ($0.image, $1.candidate) }, to: words) }
        return Report(
            scores: CaptionScores(images), images: images.count,
            references: images.reduce(0) { $0 + $1.references.count },
            imagesWithoutCandidate: known.count - seen.count)
    }

    private func write(_ captions: [(image: ImageName, words: [String])], to path: String) throws {
        struct Line: Encodable {
            let image_id: ImageName
            let words: [String]
        }
        let lines = try captions.map {
            try JSONText.line(Line(image_id: $0.image, words: $0.words)) + "\n"
        }
        try AtomicFile.write(lines.joined().utf8, to: path)
    }
}

extension CaptionEvaluation {
    /// What an image is called: a number, or any text.
    enum ImageName: Hashable, Codable, CustomStringConvertible {
        case number(Int)
        case text(String)

        init(from decoder: any Decoder) throws {
            let value = try decoder.singleValueContainer()
            if let number = try? value.decode(Int.self) {
                self = .number(number)
            } else {
                self = .text(try value.decode(String.self))
            }
        }

        func encode(to encoder: any Encoder) throws {
            var value = encoder.singleValueContainer()
            switch self {
            case .number(let number): try value.encode(number)
            case .text(let text): try value.encode(text)
            }
        }

        var description: String {
            switch self {
            case .number(let number): "\(number)"
            case .text(let text): "'\(text)'"
            }
        }
    }

    private struct Caption: Decodable {
        let image: ImageName
        let caption: String

        enum CodingKeys: String, CodingKey {
            case caption
            case image = "image_id"
        }
    }

    private struct Annotations: Decodable {
        let annotations: [Caption]
    }

    private static let largestFile = 1 << 30
    private static let form = #"[{"image_id": 1, "caption": "a cat on a mat"}, …]"#

    /// Captions in either of COCO's forms.
    private static func read(_ path: String) throws -> [Caption] {
        let data = Data(try Files.read(path, limit: largestFile))
        let isList = data.first { $0 > 0x20 } == UInt8(ascii: "[")
        let captions: [Caption]
        do {
            captions =
                isList
                ? try JSONDecoder().decode([Caption].self, from: data)
                : try JSONDecoder().decode(Annotations.self, from: data).annotations
        } catch {
            throw CommandFailure("\(path): is no list of captions like \(form)\(place(of: error))")
        }
        guard !captions.isEmpty else { throw CommandFailure("\(path): has no captions; it is to be like \(form)") }
        return captions
    }

    /// Which entry is wrong, and how.
    private static func place(of error: any Error) -> String {
        let (context, problem): (DecodingError.Context, String)
        switch error {
        case DecodingError.keyNotFound(let key, let found):
            (context, problem) = (found, "has no \"\(key.stringValue)\"")
        case DecodingError.typeMismatch(_, let found), DecodingError.valueNotFound(_, let found):
            (context, problem) = (found, "has the wrong type")
        default: return ""
        }
        let path = context.codingPath.map { key in key.intValue.map { "[\($0)]" } ?? ".\(key.stringValue)" }.joined()
        return path.isEmpty ? ": it \(problem)" : ": \(path.drop { $0 == "." }) \(problem)"
    }
}
