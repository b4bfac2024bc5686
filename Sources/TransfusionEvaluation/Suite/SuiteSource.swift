import Foundation
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionInference
import TransfusionModels
import TransfusionSupport

/// What a suite measures: the model, and the pictures and texts of a data set.
struct SuiteSource {
    let suite: SuiteEvaluation
    let archive: ModelArchive
    /// Nil when none is named and the model's run has none.
    let dataset: PackedDataset?
    /// The images of the split, each with its captions; empty without any.
    let images: [(number: Int, captions: [String])]
    /// Texts of the split.
    let documents: [String]

    /// Of the texts of a data set so many are read.
    private static let mostDocuments = 2000

    init(_ suite: SuiteEvaluation, warn: (String) -> Void) throws {
        self.suite = suite
        archive = try ModelArchive(suite.model.checkpoint) { warn($0.description) }
        let path = suite.data ?? LoadedModel.dataPaths(of: archive).first
        let dataset = try path.flatMap { path -> PackedDataset? in
            // A run may be copied without its data; what was asked for must be there.
            try suite.data == nil && !Directories.exists(path) ? nil : PackedDataset(path)
        }
        self.dataset = dataset
        var images: [(number: Int, captions: [String])] = [], documents: [String] = []
        if let dataset, suite.data != nil || dataset.manifest.splits.contains(where: { $0.name == suite.split }) {
            let split = try dataset.split(suite.split)
            images = try Self.images(of: dataset, split.pairRange, limit: suite.limit ?? .max)
            documents = try split.documentRange.prefix(Self.mostDocuments).map {
                try dataset.tokenizer.decode(try dataset.document($0))
            }.filter { !$0.isEmpty }
        }
        (self.images, self.documents) = (images, documents)
        try checkFiles()
    }

    /// The model that was opened: while a run goes on, its newest checkpoint is soon another one.
    var request: LoadedModel.Request {
        var request = suite.model
        if archive.step != nil { request.checkpoint = archive.path }
        return request
    }

    private static func images(
        of dataset: PackedDataset, _ pairs: Range<Int>, limit: Int
    ) throws -> [(number: Int, captions: [String])] {
        var images: [(number: Int, captions: [String])] = [], places: [Int: Int] = [:]
        for index in pairs {
            let pair = try dataset.pair(index)
            guard pair.original == nil else { continue }
            if let place = places[pair.image] {
                images[place].captions.append(try dataset.captionText(pair))
            } else if images.count < limit {
                places[pair.image] = images.count
                images.append((pair.image, [try dataset.captionText(pair)]))
            }
        }
        return images
    }

    /// Before the long work: what is asked for must be there.
    private func checkFiles() throws {
        var files = suite.texts + suite.tasks + (suite.clip.map { [$0] } ?? [])
        if case .file(let path)? = suite.features { files.append(path) }
        let missing = files.filter { !Files.exists($0) }.map { "\($0): is not there" }
        guard missing.isEmpty else { throw CommandFailure(missing, .failure) }
        for files in [suite.texts, suite.tasks] {
            let names = Dictionary(grouping: files, by: Paths.stem)
            if let (name, same) = names.sorted(by: { $0.key < $1.key }).first(where: { $1.count > 1 }) {
                throw CommandFailure(
                    "\(same.joined(separator: ", ")): are all called '\(name)' in the report; rename all but one",
                    .wrongUse)
            }
        }
    }

    /// Where the suite keeps its parts.
    func directory(_ output: String?) throws -> String {
        if let output { return output }
        guard let run = archive.runDirectory else {
            throw SettingError("out", "is needed for a model that is of no run")
        }
        return Paths.join(run, "suite")
    }

    /// What is done, and what is left out and why.
    func plan(_ directory: SuiteDirectory) -> (parts: [SuitePart], leftOut: [SuiteReport.LeftOut]) {
        var parts: [SuitePart] = [], leftOut: [SuiteReport.LeftOut] = []
        func leave(_ measure: String, _ reason: String) { leftOut.append(.init(measure: measure, reason: reason)) }
        var noPictures: String?
        if archive.configuration.images == .none {
            noPictures = "the model has no images"
        } else if dataset == nil {
            noPictures = "no data set is named, and the model's run has none that is there"
        } else if images.isEmpty {
            noPictures = "the data set has no captions in its split '\(suite.split)'"
        }
        if let noPictures { leave("CIDEr", noPictures) } else { parts += [.pictures, .captions, .cider] }
        if let reason = noPictures ?? (suite.features == nil ? "no weights of Inception v3 are given" : nil)
            ?? (images.count < 2 ? "one picture is too few" : nil)
        {
            leave("Fréchet distance", reason)
        } else {
            parts.append(.frechet)
        }
        if let reason = noPictures ?? (suite.clip == nil ? "no CLIP model is given" : nil) {
            leave("CLIP score", reason)
        } else {
            parts.append(.clipScore)
        }
        let isOfScenes = images.contains { SceneDescription($0.captions[0]) != nil }
        if let reason = noPictures ?? (isOfScenes ? nil : "no caption is of a scene of shapes") {
            leave("composition", reason)
        } else {
            parts.append(.composition)
        }
        let texts = suite.texts.isEmpty ? documents.isEmpty ? [] : [directory.documents(suite.split)] : suite.texts
        parts += texts.map { .perplexity($0) } + suite.tasks.map { .ranked($0) }
        if texts.isEmpty { leave("perplexity", "no texts are given, and the data set has none in its split") }
        if suite.tasks.isEmpty { leave("ranked answers", "no tasks are given") }
        return (parts, leftOut)
    }
}
