import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionData
import TransfusionInference
import TransfusionSupport

/// Where a suite keeps what it has found:
///
///     parts/NAME.json   the report of a part, with the digest of what it was computed from
///     pictures, real    what the model drew, and beside it what the data set shows, under the same names
///     captions.json     what the model says of the real pictures, and references.json what people said, in COCO's forms
///     report.json, report.md, sheet.png
struct SuiteDirectory {
    let path: String

    init(_ path: String) { self.path = path }

    var pictures: String { Paths.join(path, "pictures") }
    var real: String { Paths.join(path, "real") }
    var captions: String { Paths.join(path, "captions.json") }
    var references: String { Paths.join(path, "references.json") }
    /// Texts of a data set's split.
    func documents(_ split: String) -> String { Paths.join(path, "texts/\(split).jsonl") }

    private var drawnFrom: String { Paths.join(path, "parts/pictures.begun") }
    private func file(_ part: SuitePart) -> String { Paths.join(path, "parts/\(part.name).json") }

    private struct Kept: Codable {
        let digest: String
        let report: JSONValue
    }

    /// Makes what is missing, and writes the texts that are measured when no others are given.
    func make(_ source: SuiteSource) throws {
        let contents = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        guard contents.isEmpty || contents.contains("parts") else {
            throw CommandFailure("\(path): holds other things than a suite; choose another place", .wrongUse)
        }
        try Directories.make(Paths.join(path, "parts"))
        guard source.suite.texts.isEmpty, !source.documents.isEmpty else { return }
        try Directories.make(Paths.join(path, "texts"))
        let lines = try source.documents.map { try JSONText.line(["text": $0]) + "\n" }
        try AtomicFile.write(lines.joined().utf8, to: documents(source.suite.split), durable: false)
    }

    /// What a part has found, when it was computed from the same.
    func kept(_ part: SuitePart, _ digest: String) -> JSONValue? {
        let written: Bool =
            switch part {
            case .pictures: Files.exists(Paths.join(pictures, "prompts.jsonl"))
            case .captions: Files.exists(captions) && Files.exists(references)
            default: true
            }
        guard written, let bytes = try? Files.read(file(part), limit: 1 << 28),
            let kept = try? JSONDecoder().decode(Kept.self, from: Data(bytes)), kept.digest == digest
        else { return nil }
        return kept.report
    }

    /// - Returns: The report, as it will be read.
    func keep(_ report: any Encodable, of part: SuitePart, _ digest: String) throws -> JSONValue {
        let value = try JSONDecoder().decode(JSONValue.self, from: JSONEncoder().encode(report))
        try AtomicFile.write(try JSONText.line(Kept(digest: digest, report: value)).utf8, to: file(part))
        return value
    }

    /// Makes place for pictures. Those that were drawn from the same before the suite was stopped stay.
    func beginPictures(_ digest: String) throws {
        if let bytes = try? Files.read(drawnFrom, limit: 1024), String(decoding: bytes, as: UTF8.self) == digest {
            try Directories.make(pictures)
            return try Directories.make(real)
        }
        for folder in [pictures, real] {
            if Directories.exists(folder) { try FileManager.default.removeItem(atPath: folder) }
            try Directories.make(folder)
        }
        try AtomicFile.write(digest.utf8, to: drawnFrom)
    }

    func write(_ report: SuiteReport, _ source: SuiteSource) throws {
        try AtomicFile.write(try JSONText.pretty(report), to: Paths.join(path, "report.json"))
        var hasSheet = false
        if Files.exists(Paths.join(pictures, "prompts.jsonl")), report.pictures != nil {
            let sheet = try sheet(source)
            try AtomicFile.write(
                try PNG.encode(rgb: sheet.rgb, width: sheet.width, height: sheet.height),
                to: Paths.join(path, "sheet.png"), durable: false)
            hasSheet = true
        }
        try AtomicFile.write(report.markdown(hasSheet: hasSheet).utf8, to: Paths.join(path, "report.md"))
    }

    private static let sheetEntries = 48

    /// Real pictures beside those drawn for their captions, and what the model says of the real ones.
    private func sheet(_ source: SuiteSource) throws -> Picture {
        let said = try JSONDecoder().decode([JSONValue].self, from: Data(try Files.read(captions, limit: 1 << 30)))
        let entries = try source.images.prefix(Self.sheetEntries).enumerated().map { number, image in
            let name = PromptDrawing.name(number)
            return ContactSheet.Entry(
                label: image.captions[0], note: "says: " + (said[number]["caption"]?.string ?? ""),
                pictures: try [real, pictures].map { try PictureFile.read(Paths.join($0, name)) })
        }
        return try ContactSheet(entries: entries, columns: 4).render()
    }
}
