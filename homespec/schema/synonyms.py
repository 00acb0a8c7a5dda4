"""Stage 2, schema: the words of other libraries, and homespec's words for them.

The words are those of PyTorch, EasyRec, TorchEasyRec, FuxiCTR, torch-rechub and DeepCTR. Spelling
does not show that `elu` is closer to `swish` than to `relu`; these tables do.
"""

from __future__ import annotations

from homespec.diagnostics.suggest import folded

ACTIVATIONS = {
    "swish": "silu sigmoidlinearunit elu selu celu mish softplus hardswish glu swiglu",
    "relu": "relu6 crelu reluact",
    "gelu": "quickgelu gelutanh gelunew newgelu gelufast geglu",
    "tanh": "hardtanh hyperbolictangent softsign",
    "leaky_relu": "leakyrelu leaky lrelu rrelu",
    "prelu": "parametricrelu",
}
NONE = "linear identity null no off false nothing"

CHOICES: dict[str, dict[str, str]] = {
    "activation": {**ACTIVATIONS, "none": NONE},
    "hidden_activation": {**ACTIVATIONS, "none": NONE},
    "norm": {
        "batch": "bn batchnorm batchnorm1d batchnormalization true yes on",
        "layer": "ln layernorm layernormalization rms rmsnorm",
        "none": NONE,
    },
    "kind": {
        "binary": "classification binaryclassification ctr cvr click logistic sigmoid",
        "regression": "regress numeric continuous linear real",
    },
    "loss": {
        "squared": "mse mseloss l2 l2loss meansquarederror squarederror",
        "absolute": "mae l1 l1loss meanabsoluteerror absoluteerror",
        "huber": "smoothl1 smoothl1loss huberloss",
    },
    "family": {"mmoe": "multigatemixtureofexperts", "ple": "progressivelayeredextraction"},
    "encoder": {
        "mean": "avg average sum pooling meanpooling sumpooling avgpooling concat",
        "din": "attention targetattention localactivationunit",
        "dien": "gru augru rnn lstm",
    },
    "missing": {
        "zero": "zeros 0 mean constant default fill",
        "learned": "embedding trainable parameter learnable",
    },
    "init": {
        "auto": "he kaiming heuniform henormal kaiminguniform kaimingnormal true default",
        "torch": "pytorch xavier glorot xavieruniform xaviernormal glorotuniform glorotnormal",
    },
    "scale": {
        "standard": "z zscore standardise standardize standardscaler standardization normal "
        "gaussian meanstd true yes on",
        "log": "log1p log2 log10 ln logarithm logarithmic symlog logscale",
        "minmax": "minmaxscaler minmaxnormalize normalize normalise normalized range unit",
        "none": NONE + " raw",
    },
    "pool": {
        "mean": "avg average meanpooling avgpooling",
        "sum": "sumpooling add total concat",
        "max": "maxpooling maximum",
    },
    "search": {"hard": "exact category", "soft": "embedding approximate"},
}
"""Key -> choice -> the folded words for which it is the closest."""

REMEDIES_OF_WORDS: dict[str, dict[str, str]] = {
    "loss": {
        "write `focal: 2`, the exponent of the focal loss": "focal focalloss binaryfocal "
        "binaryfocalcrossentropy binaryfocalloss sigmoidfocalloss",
        "remove it: a binary task has the cross-entropy of its logit": "bce bceloss logloss "
        "binarycrossentropy crossentropy bcewithlogits bcewithlogitsloss sigmoidcrossentropy "
        "sigmoidcrossentropyloss",
    },
    "family": {
        "write `family: shared_bottom`, and the product as a task: "
        "`ctcvr: {product: [ctr, cvr]}`": "esmm"
    },
}
"""Key -> remedy -> the folded words whose meaning another key has."""

KEYS: dict[str, dict[str, str]] = {
    "": {
        "experts": "numexperts expertnum nexperts nexpert numexpert expertcount expertsnum",
        "features": "featureconfigs featureconfig featurecolumns sparsefeatures densefeatures "
        "inputs inputfeatures columns fields embeddings featurecols dnnfeaturecolumns "
        "linearfeaturecolumns",
        "towers": "tasktowers tower towerconfig towerdims towerunits towerhiddenunits "
        "towerdnnhiddenunits towerparams towerparamslist towermlp",
        "family": "model modelconfig modelname modeltype modelclass arch architecture type",
        "groups": "taskgroups hierarchy taskgroup",
        "tasks": "labels labelfields targets tasknames labelnames",
        "gates": "gate gating",
        "layers": "numlayers nlayers numlevels numlevel levels nlevel nlevels "
        "extractionnetworks numextractionlayers",
        "name": "modelid specname",
        "homespec": "schemaversion",
        "init": "initialization initialisation initializer initializers weightinit initweights "
        "kernelinitializer initmethod",
        "expect": "expects expected expectations promise promises contract constraints policy "
        "assert invariants",
        "dim": "embeddingdim embeddim embdim embsize embedsize embeddingsize defaultdim "
        "embeddingwidth",
        "experts.shared": "numsharedexperts sharedexpertnum nexpertshared sharenum numshared "
        "numexpertshare",
        "experts.task": "numspecificexperts specificexpertnum nexpertspecific expertnumpertask "
        "numspecific numtaskexperts",
        "experts.hidden": "experthiddenunits expertdnnhiddenunits expertmlp expertparams "
        "expertdims",
        "experts.width": "expertdim expertsize expertoutputdim",
        "gates.hidden": "gatehiddenunits gatednnhiddenunits gatedims",
        "hidden": "dnnhiddenunits hiddenunits mlp dnn",
        "activation": "hiddenactivations hiddenactivation activation dnnactivation activations",
        "norm": "batchnorm usebn dnnusebn usebatchnorm norm",
        "dropout": "dropout netdropout dnndropout dropoutrate dropoutrates dropoutratio "
        "embeddingdropout embdropout featuredropoutrate",
        "regularizer": "embeddingregularizer netregularizer l2regembedding l2regdnn l2reg "
        "l2regularization embeddingregularization regularizer weightdecay l2 l1 l1reg "
        "l1regembedding l1regdnn embeddingsregularizer kernelregularizer",
        "family of its name": "mmoe ple cgc moe home sharedbottom mlmmoe",
        "kind": "task tasktype tasktypes",
        "label": "labelcol labelcols",
        "feature groups": "featuregroups featuregroup",
    },
    "features": {
        "dim": "embeddingdim embeddim embdim embeddingsize embsize embedsize embeddingwidth vecdim "
        "size width",
        "buckets": "hashbucketsize bucketsize hashbuckets hashsize numhashbuckets usehash hash",
        "vocab": "numbuckets vocabsize vocabularysize numembeddings cardinality numcategories "
        "numids numrows",
        "bucketize": "boundaries bins bounds bucketboundaries bucketsboundaries",
        "dense": "valuedim numdense vectordim",
        "column": "inputnames inputname featurename source field columnname expression key",
        "table": "sharewith sharedembedding shareembedding sharedwith embeddingname sharedtable",
        "sequence": "sequencelength seqlen sequencefeature sequencefeatures history",
        "cross": "crossfeature crossfeatures crossed crosses combofeature combo crosscolumn "
        "featurecross pair pairs",
        "list": "tagfeature pooling combiner multivalue multivalued varlen maxlen",
        "kind": "type featuretype dtype ftype kind",
        "missing": "defaultvalue fillna navalue default",
        "number": "normalizer normalization normalize normalise standardize standardise "
        "standardization zscore minmax scaler scaling logscale numeric numerical continuous",
        "vocab list": "vocablist vocabfile vocabdict",
        "from": "pretrained pretrainedpath pretrainedemb pretrainedfile pretrainedweights "
        "pretraineddim initfrom weightsfile embeddingfile",
        "padding": "paddingidx padidx paddingindex paddingvalue",
        "dropout": "dropoutrate dropoutratio dropoutrates embeddingdropout embdropout drop",
        "nothing": "active trainable embeddingsinitializer initializer initfn featureencoder "
        "freezeemb",
        "regularizer": "embeddingregularizer embeddingsregularizer regularizer l2reg l2 l1 l1reg "
        "weightdecay",
        "learning rate": "lr learningrate lrmultiplier",
        "name": "name featureid",
    },
    "experts": {
        "hidden": "dims dimlist units hiddenunits hiddendims hiddensize hiddensizes mlp dnn "
        "expertdims expertmlp dnnhiddenunits expertunits mlpdims layers experthiddenunits "
        "expertdnnhiddenunits hiddendim",
        "width": "dim outputdim outdim outputsize expertdim size embeddingdim outputwidth",
        "count": "count numexperts expertnum nexperts nexpert numexpert expertcount number num",
        "norm": "usebn batchnorm bn usebatchnorm layernorm usenorm normalization normalisation",
        "activation": "act activationfn activationfunction nonlinearity",
        "dropout": "dropoutrate dropoutratio dropoutrates netdropout drop dnndropout dropoutp",
        "regularizer": "l2reg l2 l1 l1reg regularizer embeddingregularizer netregularizer "
        "kernelregularizer weightdecay",
        "learning rate": "lr learningrate lrmultiplier",
        "all.shared": "numsharedexperts sharedexpertnum nexpertshared sharenum numshared "
        "sharednum numexpertshare",
        "all.task": "numspecificexperts specificexpertnum nexpertspecific expertnumpertask "
        "numspecific specific taskspecific pertask",
        "bias": "bias usebias",
        "sparse": "topk k numactive",
    },
    "towers": {
        "hidden": "dims units hiddenunits hiddendims hiddensize mlp dnn towerdims width dim "
        "dnnhiddenunits towerhiddenunits layers size towerdnnhiddenunits hiddendim towermlp",
        "activation": "act activationfn activationfunction nonlinearity hiddenactivation",
        "norm": "usebn batchnorm bn usebatchnorm norm layernorm normalization",
        "dropout": "dropout dropoutrate dropoutratio dropoutrates netdropout drop",
        "regularizer": "l2reg l2 l1 l1reg regularizer kernelregularizer weightdecay",
        "learning rate": "lr learningrate lrmultiplier",
        "output": "outputdim outdim outputactivation finalactivation",
    },
    "tasks": {
        "kind": "type tasktype task",
        "weight": "lossweight taskweight coef lossscale",
        "pos_weight": "posweight positiveweight posweights scaleposweight classweight classweights",
        "focal": "focalgamma gamma focalloss",
        "sample_weight": "sampleweights sampleweightname sampleweightfields sampleweightfieldname "
        "sampleweightcolumn weightcolumn weightcol weightname rowweight rowweights weights "
        "instanceweight exampleweight",
        "within": "jrcloss jrc sessionname session sessionid pairwiseloss listwiseloss rankingloss",
        "outside_weight": "outtaskspaceweight outofspaceweight outspaceweight",
        "where": "taskspaceindicatorlabel taskspaceindicatorname samplespace mask condition",
        "label": "labelname labelcolumn labelfield target column labels labelcol",
        "rate": "baserate positiverate prior",
        "tower": "towername towerhidden tasktower mlp dnn hidden hiddenunits towerhiddenunits "
        "towermlp",
        "loss": "losstype lossfn lossfunction objective losses",
        "metrics": "metrics metric metricsset evalmetric",
        "classes": "numclass numclasses nclasses",
        "dropout": "dropout dropoutrate dropoutrates netdropout",
        "regularizer": "l2reg l2 l1 l1reg regularizer kernelregularizer weightdecay",
        "learning rate": "lr learningrate lrmultiplier",
        "group": "group taskgroup groupname",
        "output": "activation outputactivation",
    },
    "sequence": {
        "max_len": "maxlength maxseqlen seqlen sequencelength length seqlength maxlens maxsize",
        "encoder": "pooling combiner attention type kind sequenceencoder aggregator agg "
        "encodertype numheads heads",
        "of": "fields features inputs sequencefields sharewith sharedwith",
        "with": "extra only own extras context",
        "columns": "column inputnames",
        "candidate": "target query targetitem targetcol",
        "separator": "sep delimiter sequencedelim multivaluesep splitter",
        "padding": "paddingidx padidx pad padvalue paddingvalue",
    },
    "list": {
        "max_len": "maxlength length seqlen maxseqlen size padlen",
        "pool": "pooling combiner mode agg aggregator encoder type kind",
        "weights": "weight weightcolumn weightfield kvseparator scores",
        "separator": "sep delimiter sequencedelim multivaluesep splitter",
        "padding": "paddingidx pad padvalue paddingvalue",
    },
    "encoder": {"encoder": "type kind name encodertype attentiontype"},
    "gates": {
        "feature": "featuregate featuregating lora fgate featuregates",
        "self": "selfgate selfgates residual",
        "mixture": "gate expertgate gating softmax mixturegate",
        "mixture.hidden": "gatehiddenunits hiddenunits gatednnhiddenunits dims units",
        "softmax": "activation type temperature topk k noisy sparse",
        "dropout": "dropout dropoutrate dropoutrates",
    },
}
KEYS["expect"] = {
    "isolated": "separate separated disjoint independent apart",
    "reads": "read sees inputs uses",
    "except_through": "through except exceptions via",
    "budget": "limits limit max maximum cost costs",
}
KEYS["vocab"] = {
    "min_count": "minfreq minfrequency minoccurrence minoccurrences mincategrcount threshold",
    "max_size": "size vocabsize maxvocab maxvocabsize maxwords maxids buckets",
}
KEYS["budget"] = {
    "parameters": "params param weights numparameters numparams size",
    "dense_parameters": "denseparams denseweights trunkparameters nonembeddingparameters",
    "flops": "flop macs flopspersample compute",
    "experts": "numexperts nexperts expertcount",
}
KEYS["cross"] = {
    "of": "features fields inputs inputnames columns keys ids expression",
    "buckets": "hashbucketsize bucketsize hashbuckets hashsize numbuckets size vocab vocabsize",
}
KEYS["id"] = {meant: KEYS["features"][meant] for meant in ("dim", "buckets", "vocab")}
"""Kind of section -> meaning -> the folded words of other libraries for it."""


def meaning(table: dict[str, str], word: str) -> str | None:
    """The meaning of another library's word, by a table from meanings to words."""
    return next((meant for meant, words in table.items() if folded(word) in words.split()), None)
