internal import TransfusionModels

extension ModelConfiguration {
    /// Rows of a pair beside its caption and its original: the patches of its image, BOS, BOI, EOI and EOS.
    var pairRows: Int { patchesPerImage + 4 }

    /// Rows of an original: its patches, BOI and EOI.
    var originalRows: Int { patchesPerImage + 2 }
}
